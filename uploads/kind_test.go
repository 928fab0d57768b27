package uploads_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"inventorybeacon/uploads"
)

func name(t *testing.T, s string) uploads.Name {
	t.Helper()
	n, err := uploads.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestKindsRouteFiles(t *testing.T) {
	for _, tt := range []struct{ folder, file, want string }{
		{"Inventories", "a.ndi", "Inventories"},
		{"inventories", "a.NDI.GZ", "Inventories"},
		{"Inventories", "a.mmi", ""},
		{"Inventories", "a.gz", ""},
		{"Inventories", "a", ""},
		{"SecurityLogs", "a.log", "SecurityLogs"},
		{"ActiveDirectory", "a.xml", "ActiveDirectory"},
		{"", "a.ndi", "Inventories"},
		{"", "a.mmi.gz", "UsageData"},
		{"", "a.log", "Logs"},
		{"", "a.xml", ""},
		{"", "a.ndjson", ""},
		{"", "a.exe", ""},
		{"Secrets", "a.ndi", ""},
	} {
		kind, err := uploads.DefaultKinds().For(tt.folder, name(t, tt.file))
		if kind.Folder != tt.want || (err != nil) != (tt.want == "") || err != nil && !errors.Is(err, uploads.ErrBadKind) {
			t.Errorf("For(%q, %q) = %q, %v; want %q", tt.folder, tt.file, kind.Folder, err, tt.want)
		}
	}
}

func TestKindsMayAcceptUnknown(t *testing.T) {
	k := uploads.DefaultKinds()
	k.AcceptUnknown = true
	if kind, err := k.For("Oracle", name(t, "a.dat")); err != nil || kind.Folder != "Oracle" {
		t.Errorf("%+v, %v", kind, err)
	}
	if _, err := k.For("Inventories", name(t, "a.exe")); !errors.Is(err, uploads.ErrBadKind) {
		t.Errorf("a known kind took a foreign extension: %v", err)
	}
	if _, err := k.For("..", name(t, "a.dat")); !errors.Is(err, uploads.ErrBadKind) {
		t.Errorf("a climbing folder was taken: %v", err)
	}
}

// The value is fixed by the contract: every beacon and hop computes the same.
func TestReceiptIDIsDeterministic(t *testing.T) {
	d := uploads.DigestOf([]byte("hello"))
	got := uploads.ReceiptID("Inventories", name(t, "WS1 at 20260310T172738.ndi.gz"), d)
	if want := "rbe4dl2zcrllb4ywdjihotynxp"; got != want {
		t.Errorf("ReceiptID = %q, want %q", got, want)
	}
	if other := uploads.ReceiptID("Inventories", name(t, "ws1 AT 20260310T172738.ndi.gz"), d); other != got {
		t.Errorf("the name's case changes the receipt: %q", other)
	}
	if other := uploads.ReceiptID("Logs", name(t, "WS1 at 20260310T172738.ndi.gz"), d); other == got {
		t.Error("the kind does not change the receipt")
	}
}

func TestReceiptHasTheContractsFields(t *testing.T) {
	u := uploads.Upload{
		Kind: "Logs", Name: name(t, "a.log"), Device: uploads.Device{Domain: "EXAMPLE", Name: "a"},
		Digest: uploads.DigestOf(nil), Size: 7, Received: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Beacon: "b1",
	}
	b, err := json.Marshal(u.Receipt())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"receipt":"z47ugcdw2x6scutcop7dmydnyx","kind":"Logs","name":"a.log","device":"a","domain":"EXAMPLE",` +
		`"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","bytes":7,` +
		`"received":"2026-01-02T03:04:05Z","beacon":"b1",` +
		`"custody":[{"level":"beacon","beacon":"b1","at":"2026-01-02T03:04:05Z"}],"duplicate":false}`
	if string(b) != want {
		t.Errorf("%s\nwant\n%s", b, want)
	}
	var back uploads.Receipt
	if err := json.Unmarshal(b, &back); err != nil || back.SHA256 != u.Digest {
		t.Errorf("%+v, %v", back, err)
	}
}
