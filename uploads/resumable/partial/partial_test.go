package partial_test

import (
	"testing"

	"inventorybeacon/uploads/resumable/partial"
)

func TestBoolIsReadStrictly(t *testing.T) {
	for _, tt := range []struct {
		lines     []string
		value, ok bool
	}{
		{nil, false, false},
		{[]string{"?1"}, true, true},
		{[]string{"?0"}, false, true},
		{[]string{" ?1 "}, true, true},
		{[]string{"?1;x=2"}, true, true},
		{[]string{"1"}, false, false},
		{[]string{"true"}, false, false},
		{[]string{"?2"}, false, false},
		{[]string{"?1, ?1"}, false, false},
		{[]string{"?1", "?1"}, false, false},
		{[]string{`"?1"`}, false, false},
	} {
		if v, ok := partial.ParseBool(tt.lines); v != tt.value || ok != tt.ok {
			t.Errorf("%q: %v %v", tt.lines, v, ok)
		}
	}
}

func TestIntIsReadStrictly(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		value int64
		ok    bool
	}{
		{nil, 0, false},
		{[]string{"0"}, 0, true},
		{[]string{"268435456"}, 268435456, true},
		{[]string{"999999999999999"}, 999999999999999, true},
		{[]string{"1000000000000000"}, 0, false},
		{[]string{"-1"}, 0, false},
		{[]string{"1.0"}, 0, false},
		{[]string{"1, 2"}, 0, false},
		{[]string{"1", "1"}, 0, false},
		{[]string{"5;a"}, 5, true},
		{[]string{""}, 0, false},
	} {
		if v, ok := partial.ParseInt(tt.lines); v != tt.value || ok != tt.ok {
			t.Errorf("%q: %v %v", tt.lines, v, ok)
		}
	}
}

func TestLimitsTravel(t *testing.T) {
	for _, l := range []partial.Limits{
		{},
		{MaxSize: 256 << 20, MaxAge: 600},
		{MaxSize: 9, MinSize: 1, MaxAppendSize: 8, MinAppendSize: 2, MaxAge: 3},
	} {
		got, ok := partial.ParseLimits([]string{l.String()})
		if !ok || got != l {
			t.Errorf("%q gives %+v, %v", l, got, ok)
		}
	}
	if got := (partial.Limits{}).String(); got != "min-size=0" {
		t.Errorf("no limits: %q", got)
	}
}

func TestLimitsAreReadAsTheDraftSays(t *testing.T) {
	for _, tt := range []struct {
		line string
		want partial.Limits
		ok   bool
	}{
		{`max-size=10, colour="a, b", max-age=5`, partial.Limits{MaxSize: 10, MaxAge: 5}, true},
		{`max-size=10;why="x", flag, list=(1 2)`, partial.Limits{MaxSize: 10}, true},
		{`max-size="10"`, partial.Limits{}, false},
		{`max-size`, partial.Limits{}, false},
		{`max-size=10, max-age=?1`, partial.Limits{}, false},
		{`max-size=10,, max-age=1`, partial.Limits{}, false},
		{``, partial.Limits{}, false},
	} {
		if got, ok := partial.ParseLimits([]string{tt.line}); got != tt.want || ok != tt.ok {
			t.Errorf("%q gives %+v, %v", tt.line, got, ok)
		}
	}
}
