package stall_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/uploads/stall"
)

var limits = stall.Limits{Idle: 30 * time.Second, Answer: 5 * time.Minute}

func TestWatchCutsWhatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := stall.New(t.Context(), limits)
		defer w.Stop()
		for range 1000 { // slow, for hours, is fine
			time.Sleep(29 * time.Second)
			w.Moved()
		}
		if ctx.Err() != nil {
			t.Fatal("cut although it moved")
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		err := stall.Cause(ctx, ctx.Err())
		stalled, ok := errors.AsType[*stall.Error](err)
		if !ok || !stalled.Timeout() || stalled.After != limits.Idle {
			t.Errorf("cause %v", err)
		}
	})
}

func TestWatchGivesTimeToAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, w := stall.New(t.Context(), limits)
		defer w.Stop()
		r := w.Reader(strings.NewReader("0123456789"), 10)
		time.Sleep(29 * time.Second)
		io.ReadFull(r, make([]byte, 9))
		time.Sleep(29 * time.Second)
		io.ReadFull(r, make([]byte, 1))
		time.Sleep(limits.Answer - time.Second)
		if ctx.Err() != nil {
			t.Fatal("cut while it waited for the answer")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("waits for ever")
		}
	})
}

func TestCauseLeavesOtherErrorsAlone(t *testing.T) {
	ctx, w := stall.New(t.Context(), limits)
	w.Stop()
	if err := stall.Cause(ctx, io.EOF); err != io.EOF {
		t.Errorf("Cause = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ctx, w = stall.New(ctx, limits)
	defer w.Stop()
	if err := stall.Cause(ctx, ctx.Err()); !errors.Is(err, context.Canceled) {
		t.Errorf("Cause = %v", err)
	}
}
