package catalogue

import (
	"strings"
	"testing"
	"time"
)

// What is asked often, or while a large fleet reports, does not read a whole table.
func TestQueriesUseTheirIndex(t *testing.T) {
	c := filled(t, day())
	everything := &query{}
	everything.add(uploadColumns + " ORDER BY peer")
	for name, tt := range map[string]struct {
		q    *query
		want string // in the plan
	}{
		"newest":             {UploadFilter{}.query(), "INDEX uploads_received"},
		"since":              {UploadFilter{Since: time.Now()}.query(), "INDEX uploads_received (received>?)"},
		"of a device":        {UploadFilter{Device: "pc1"}.query(), "INDEX uploads_device (device_key=?)"},
		"of a kind":          {UploadFilter{Kind: "logs"}.query(), "INDEX uploads_kind (kind=?)"},
		"waiting":            {UploadFilter{State: StateWaiting}.query(), "INDEX uploads_state (state=?)"},
		"quarantined":        {UploadFilter{State: StateQuarantined}.query(), "INDEX uploads_state (state=?)"},
		"losses of a device": {LossFilter{Device: "pc1"}.query(ownLosses), "INDEX losses_device (device_key=?)"},
		"newest losses":      {LossFilter{Open: true}.query(ownLosses), "INDEX losses_at"},
		"newest reported":    {LossFilter{}.query(reportedLosses), "INDEX reported_at"},
		"by address or id":   {devicesThatCalled("192.0.2.7"), "INDEX contacts_agent (agent_id=?)"},
		"other machines":     {sameAgents(1), "INDEX contacts_agent (agent_id=?)"},
		"strangers":          {strangersCalled("pc1"), "INDEX contacts_address (address=?)"},
		"a query without":    {everything, "SCAN uploads"},
		"strangers, by id":   {strangersCalled("pc1"), "INDEX contacts_agent (agent_id=?)"},
		"addresses, by one":  {devicesThatCalled("192.0.2.7"), "INDEX contacts_address (address=?)"},
	} {
		t.Run(name, func(t *testing.T) {
			plan := explain(t, c, tt.q)
			if !strings.Contains(plan, tt.want) {
				t.Errorf("want %s in:\n%s", tt.want, plan)
			}
			if strings.Contains(plan, "SCAN") && !strings.Contains(plan, "USING INDEX uploads_received") && !strings.Contains(plan, "SCAN losses USING INDEX losses_at") && !strings.Contains(plan, "SCAN reported USING INDEX reported_at") && name != "a query without" {
				t.Errorf("it reads a whole table:\n%s", plan)
			}
		})
	}
}

func explain(t *testing.T, c *Catalogue, q *query) string {
	t.Helper()
	rows, err := c.store.r.Query("EXPLAIN QUERY PLAN "+q.text.String(), q.args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}
