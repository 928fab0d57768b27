//go:build linux

package child_test

import (
	"strings"
	"testing"

	"inventorybeacon/cmd/internal/child"
)

func start(t *testing.T, script string) *child.Program {
	t.Helper()
	p, err := child.Start([]string{"WHO=rig"}, "/bin/sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestProgramSaysWhereItServes(t *testing.T) {
	p := start(t, `echo "ready agents=http://127.0.0.1:7 who=$WHO"; exec sleep 60`)
	if at, err := p.Agents(); err != nil || at.Host != "127.0.0.1:7" {
		t.Errorf("%v, %v", at, err)
	}
	if err := p.Ended(); err != nil {
		t.Error(err)
	}
	p.Kill()
	if err := p.Ended(); err == nil {
		t.Error("it runs on")
	}
}

func TestProgramThatEndsByItselfTellsWhy(t *testing.T) {
	p := start(t, `echo "$WHO has no disk" >&2`)
	if at, err := p.Agents(); err == nil || !strings.Contains(err.Error(), "does not serve:\nrig has no disk") {
		t.Errorf("%v, %v", at, err)
	}
	if err := p.Ended(); err == nil || !strings.Contains(err.Error(), "ended by itself:\nrig has no disk") {
		t.Error(err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tail child.Tail
	for range 100 {
		tail.Write([]byte(strings.Repeat("x", 1000)))
	}
	tail.Write([]byte("last\n"))
	if s := tail.String(); len(s) > 16<<10 || !strings.HasSuffix(s, "xlast") {
		t.Errorf("%d bytes: …%s", len(s), s[max(0, len(s)-10):])
	}
}
