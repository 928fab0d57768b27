package revision_test

import (
	"bytes"
	stdcontext "context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"inventorybeacon/policy"
	"inventorybeacon/policy/bundle"
	"inventorybeacon/policy/revision"
)

func context() stdcontext.Context { return stdcontext.Background() }

func export(t *testing.T, s *revision.Store) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.Export(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestMirrorGivesTheSameAnswers(t *testing.T) {
	c := newClock()
	s, m := openStore(t, t.TempDir(), c), openStore(t, t.TempDir(), c)
	publishDir(t, s, filepath.Join(samples, "head-office"))
	publishDir(t, s, filepath.Join(samples, "staging-sample"))
	publish(t, s, manifest("b", "applies_to: {domains: [EXAMPLE]}\nsettings: {S: {A: 1}}\n"))
	res, err := m.Import(t.Context(), bytes.NewReader(export(t, s)))
	if err != nil || !res.Changed || res.Revision != s.Current().Revision() {
		t.Fatalf("%+v %v", res, err)
	}
	same := func(a, b *revision.Object, err, err2 error) {
		t.Helper()
		if err != nil || err2 != nil || a.ETag != b.ETag || !a.Modified.Equal(b.Modified) || body(t, a) != body(t, b) || a.ContentType != b.ContentType {
			t.Errorf("%v %v\n%+v\n%+v", err, err2, a, b)
		}
	}
	for _, q := range []policy.Query{oursQuery, oldQuery, {Domain: "X", Device: "printserver"}} {
		a, err := s.Current().Policy(q)
		b, err2 := m.Current().Policy(q)
		same(a, b, err, err2)
	}
	paths := append(names(t, s.Current(), oursQuery), "Schedules/Default Machine Schedule.nds", "Packages/Agent Upgrade/16.2.0/Agent Upgrade.ndc")
	for _, p := range paths {
		a, err := s.Current().File(p)
		b, err2 := m.Current().File(p) // before any policy was asked for there
		same(a, b, err, err2)
	}
}

func TestMirrorPublishesNothing(t *testing.T) {
	c := newClock()
	s, dir := openStore(t, t.TempDir(), c), t.TempDir()
	m := openStore(t, dir, c)
	publish(t, s, manifest("a", poll))
	if _, err := m.Import(t.Context(), bytes.NewReader(export(t, s))); err != nil {
		t.Fatal(err)
	}
	refused := func(m *revision.Store) {
		t.Helper()
		b, err := bundle.Open(filepath.Join(samples, "head-office"))
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if _, err := m.Publish(t.Context(), b, "", ""); !errors.Is(err, policy.ErrMirror) || !strings.Contains(err.Error(), s.Publisher()) {
			t.Errorf("%v, want one that names %s", err, s.Publisher())
		}
		if _, err := m.Withdraw(t.Context(), "a", "", ""); !errors.Is(err, policy.ErrMirror) {
			t.Errorf("%v", err)
		}
		if m.Mirrors() != s.Publisher() || s.Mirrors() != "" {
			t.Errorf("mirrors %q", m.Mirrors())
		}
	}
	refused(m)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	refused(openStore(t, dir, c))
}

func TestImportNeverGoesBack(t *testing.T) {
	c := newClock()
	s, m := openStore(t, t.TempDir(), c), openStore(t, t.TempDir(), c)
	publish(t, s, manifest("a", poll))
	first := export(t, s)
	publish(t, s, manifest("a", poll+"priority: 3\n"))
	second := export(t, s)
	take := func(b []byte) (revision.Result, error) { return m.Import(t.Context(), bytes.NewReader(b)) }
	if _, err := take(first); err != nil {
		t.Fatal(err)
	}
	if res, err := take(first); err != nil || res.Changed {
		t.Errorf("the same again: %+v %v", res, err)
	}
	if res, err := take(second); err != nil || !res.Changed || res.Revision.Number != 2 {
		t.Errorf("%+v %v", res, err)
	}
	if _, err := take(first); !errors.Is(err, policy.ErrOlder) || m.Current().Revision().Number != 2 {
		t.Errorf("an older one: %v", err)
	}
	other := openStore(t, t.TempDir(), c)
	publish(t, other, manifest("z", poll))
	if _, err := take(export(t, other)); err == nil || !strings.Contains(err.Error(), s.Publisher()) {
		t.Errorf("another publisher's: %v", err)
	}
	if _, err := other.Import(t.Context(), bytes.NewReader(second)); err == nil || other.Current().Revision().Publisher != other.Publisher() {
		t.Errorf("a publisher became a mirror: %v", err)
	}
}

func TestImportTakesAllOrNothing(t *testing.T) {
	c := newClock()
	s := openStore(t, t.TempDir(), c)
	publishDir(t, s, filepath.Join(samples, "staging-sample"))
	whole := export(t, s)
	m := openStore(t, t.TempDir(), c)
	for tenth := range 10 {
		if _, err := m.Import(t.Context(), bytes.NewReader(whole[:len(whole)*tenth/10])); err == nil {
			t.Errorf("cut at %d tenths, it is taken", tenth)
		}
	}
	m = openStore(t, t.TempDir(), c) // without the objects that came whole before the cuts
	hurt := bytes.Replace(whole, []byte("PolicyClient"), []byte("PolicyKlient"), 1)
	if _, err := m.Import(t.Context(), bytes.NewReader(hurt)); err == nil {
		t.Error("with an object changed, it is taken")
	}
	newer := bytes.Replace(whole, []byte(`"version": 1`), []byte(`"version": 9`), 1)
	if _, err := m.Import(t.Context(), bytes.NewReader(newer)); !errors.Is(err, policy.ErrTooNew) {
		t.Errorf("of a newer version: %v", err)
	}
	if !m.Current().Revision().IsZero() {
		t.Error("something of it is in force")
	}
	if _, err := m.Import(t.Context(), bytes.NewReader(whole)); err != nil {
		t.Errorf("the whole: %v", err)
	}
}

func TestExportOfNothingIsAnError(t *testing.T) {
	if err := openStore(t, t.TempDir(), newClock()).Export(t.Context(), &bytes.Buffer{}); err == nil {
		t.Error("nothing was exported without an error")
	}
}
