package beacon_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/ledger"
	"inventorybeacon/uploads/spool"
)

// A report on losses that nobody takes any more does not wait for ever, and no
// other one is made.
func TestNoLossReportWithoutADestination(t *testing.T) {
	dir := t.TempDir()
	c := load(t, dir, config.Flags{})
	c.Relay = []config.Relay{{Name: "hub", Beacon: &config.Parent{URL: "http://127.0.0.1:1/ManageSoftRL"}}}
	b, err := beacon.Open(t.Context(), beacon.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	report(t, b, filepath.Join(dir, config.LedgerFile))
	if st := b.Spool().Stats(); st.Pending != 1 {
		t.Fatalf("%d files wait", st.Pending)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	c.Relay[0].Kinds = []string{"Logs"}
	if b, err = beacon.Open(t.Context(), beacon.Options{Config: c}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	eventually(t, "the report to be taken back", func() bool { return b.Spool().Stats().Pending == 0 })
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// report loses a file and makes the report that tells of it.
func report(t *testing.T, b *beacon.Beacon, file string) {
	t.Helper()
	name, err := uploads.ParseName("pc1.log")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Spool().Accept(t.Context(), spool.Draft{Kind: "Logs", Name: name, Length: -1}, strings.NewReader("lost")); err != nil {
		t.Fatal(err)
	}
	u, held := b.Spool().HeldExact("Logs", name, uploads.DigestOf([]byte("lost")))
	if !held {
		t.Fatal("the file is not held")
	}
	if err := b.Spool().Lose(u.Seq, spool.LossOperator, "by hand"); err != nil {
		t.Fatal(err)
	}
	tell, err := ledger.New(ledger.Options{Spool: b.Spool(), File: file, Identity: "edge"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tell.Tell(t.Context()); err != nil {
		t.Fatal(err)
	}
}
