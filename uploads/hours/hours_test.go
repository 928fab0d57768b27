package hours_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // a test machine need not have any

	"inventorybeacon/uploads/hours"
)

func zone(t *testing.T) *time.Location {
	t.Helper()
	z, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestHoursOpenAndClose(t *testing.T) {
	z := zone(t)
	for _, tt := range []struct {
		windows string // separated by "; "
		at      string // local
		open    bool
		until   string // local; empty for ever
	}{
		{"22:00-06:00", "2026-11-25 21:59", false, "2026-11-25 22:00"},
		{"22:00-06:00", "2026-11-25 22:00", true, "2026-11-26 06:00"},
		{"22:00-06:00", "2026-11-26 05:59", true, "2026-11-26 06:00"},
		{"22:00-06:00", "2026-11-26 06:00", false, "2026-11-26 22:00"},
		{"mon-fri 18:00-24:00", "2026-11-27 23:59", true, "2026-11-28 00:00"},  // a Friday
		{"mon-fri 18:00-24:00", "2026-11-28 00:00", false, "2026-11-30 18:00"}, // over the weekend
		{"fri 22:00-06:00", "2026-11-28 03:00", true, "2026-11-28 06:00"},      // it began on Friday
		{"fri 22:00-06:00", "2026-11-29 03:00", false, "2026-12-04 22:00"},
		{"sat,sun", "2026-11-28 12:00", true, "2026-11-30 00:00"},
		{"sat-sun; mon-fri 20:00-24:00", "2026-11-27 21:00", true, "2026-11-30 00:00"},
		{"fri-mon", "2026-11-29 12:00", true, "2026-12-01 00:00"},
		{"08:00-12:00; 10:00-14:00", "2026-11-25 09:00", true, "2026-11-25 14:00"},
		{"08:00-12:00; 10:00-14:00", "2026-11-25 14:00", false, "2026-11-26 08:00"},
		{"00:00-24:00", "2026-11-25 09:00", true, ""},
		{"06:00-06:00", "2026-11-25 09:00", true, ""},
		{"SAT 10:00-11:00", "2026-11-25 09:00", false, "2026-11-28 10:00"},
		// Clocks go from 02:00 to 03:00 on 29 March 2026 and from 03:00 to 02:00 on 25 October.
		{"22:00-06:00", "2026-03-28 23:00", true, "2026-03-29 06:00"},
		{"22:00-06:00", "2026-10-24 23:00", true, "2026-10-25 06:00"},
	} {
		h, err := hours.Parse(strings.Split(tt.windows, "; "), z)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.ParseInLocation("2006-01-02 15:04", tt.at, z)
		if err != nil {
			t.Fatal(err)
		}
		open, until := h.At(at.UTC())
		got := ""
		if !until.IsZero() {
			got = until.In(z).Format("2006-01-02 15:04")
		}
		if open != tt.open || got != tt.until {
			t.Errorf("%s at %s: %v until %q, want %v until %q", tt.windows, tt.at, open, got, tt.open, tt.until)
		}
	}
}

// Whatever the clock does, a change that is announced is one, and none comes
// before it.
func TestHoursKeepTheirWordAcrossClockChanges(t *testing.T) {
	z := zone(t)
	h, err := hours.Parse([]string{"02:30-03:30", "22:00-01:15"}, z)
	if err != nil {
		t.Fatal(err)
	}
	for _, day := range []time.Time{time.Date(2026, 3, 28, 20, 0, 0, 0, z), time.Date(2026, 10, 24, 20, 0, 0, 0, z)} {
		open, until := h.At(day)
		for now := day; now.Before(day.Add(36 * time.Hour)); now = now.Add(time.Minute) {
			is, next := h.At(now)
			if is != open && now.Before(until) {
				t.Fatalf("%v: %v before %v", now, is, until)
			}
			if is == open && !now.Before(until) {
				t.Fatalf("%v: still %v after %v", now, is, until)
			}
			open, until = is, next
		}
	}
}

func TestHoursWithoutWindowsAreAlwaysOpen(t *testing.T) {
	if open, until := (hours.Hours{}).At(time.Now()); !open || !until.IsZero() {
		t.Errorf("%v until %v", open, until)
	}
}

func TestHoursRefuseWhatTheyCannotRead(t *testing.T) {
	for _, text := range []string{"", "22:00", "22:00-", "25:00-26:00", "24:00-06:00", "xyz 10:00-11:00", "mon tue 10:00-11:00", "10:00-11:00 mon", "mon-", "1-2"} {
		if _, err := hours.Parse([]string{text}, nil); err == nil || !strings.Contains(err.Error(), "for example") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
