package beacon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A flood of bad files is told by some of them and by a number.
func TestThinnedLogSumsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		log := thin(slog.New(slog.NewTextHandler(&b, nil))).With("part", "gate")
		for i := range 1000 {
			log.Warn("upload flagged", "seq", i)
		}
		log.Error("another")
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		if n := strings.Count(b.String(), "upload flagged"); n != thinBurst || len(lines) != thinBurst+1 || strings.Contains(b.String(), "left_out") {
			t.Errorf("%d of %d lines tell of 1000 files", n, len(lines))
		}
		time.Sleep(thinEvery)
		b.Reset()
		log.Warn("upload flagged", "seq", 1000)
		log.Warn("upload flagged", "seq", 1001)
		lines = strings.Split(strings.TrimSpace(b.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "part=gate seq=1000 left_out=980") || strings.Contains(lines[1], "left_out") {
			t.Errorf("%q", lines)
		}
	})
}

func TestThinnedLogIsWholeForDebugging(t *testing.T) {
	var b bytes.Buffer
	log := thin(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for range 2 * thinBurst {
		log.Warn("upload flagged")
	}
	if warned, all := strings.Count(b.String(), "level=WARN"), strings.Count(b.String(), "\n"); warned != thinBurst || all != 2*thinBurst {
		t.Errorf("%d of %d lines are warnings", warned, all)
	}
}
