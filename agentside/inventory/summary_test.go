package inventory

import (
	"encoding/xml"
	"testing"
)

// summaryIn reads back what a written document says in short.
func summaryIn(t *testing.T, s string) Summary {
	t.Helper()
	var doc struct {
		XMLName     xml.Name   `xml:"Inventory"`
		MachineName string     `xml:",attr"`
		Scope       string     `xml:",attr"`
		Type        string     `xml:",attr"`
		DateTime    string     `xml:",attr"`
		Hardware    []struct{} `xml:"Hardware"`
		Package     []struct{} `xml:"Package"`
		Section     []struct {
			Name   string `xml:",attr"`
			Status Status `xml:",attr"`
			Count  int    `xml:",attr"`
			Error  string `xml:",attr"`
		}
	}
	if err := xml.Unmarshal([]byte(s), &doc); err != nil {
		t.Fatalf("%v in\n%s", err, s)
	}
	sum := Summary{
		MachineName: doc.MachineName, Scope: doc.Scope, Type: doc.Type, DateTime: doc.DateTime,
		Hardware: len(doc.Hardware), Packages: len(doc.Package),
	}
	for _, sec := range doc.Section {
		sum.Sections = append(sum.Sections, SectionSummary(sec))
	}
	return sum
}
