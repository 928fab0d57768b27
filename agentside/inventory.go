package agentside

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	"inventorybeacon/agentside/inventory"
	"inventorybeacon/uploads"
)

// Inventory takes an inventory and writes it to w as an .ndi document. It needs
// no data directory and sends nothing.
func Inventory(ctx context.Context, o Options, w io.Writer) error {
	doc, err := take(ctx, o)
	if err != nil {
		return err
	}
	if _, err := doc.WriteTo(w); err != nil {
		return fmt.Errorf("write inventory: %w", err)
	}
	return nil
}

// InventorySummary takes an inventory and returns what it says in a few lines.
func InventorySummary(ctx context.Context, o Options) (inventory.Summary, error) {
	doc, err := take(ctx, o)
	if err != nil {
		return inventory.Summary{}, err
	}
	return doc.Summary(), nil
}

// take takes an inventory outside any data directory.
func take(ctx context.Context, o Options) (*inventory.Document, error) {
	o, _, err := o.complete()
	if err != nil {
		return nil, err
	}
	return collect(ctx, o, "")
}

func collect(ctx context.Context, o Options, id string) (*inventory.Document, error) {
	return inventory.Collect(ctx, inventory.Options{
		Identity: inventory.Identity{Name: o.Name, Domain: o.Domain, AgentID: id, AgentVersion: o.Version},
		Now:      time.Now().Truncate(time.Second), Log: o.Log,
	})
}

// takeInventory takes an inventory and leaves it in the spool, durably.
func (a *Agent) takeInventory(ctx context.Context) (uploads.Receipt, error) {
	defer debug.FreeOSMemory() // an idle agent keeps nothing of it
	doc, err := collect(ctx, a.o, a.id)
	if err != nil {
		return uploads.Receipt{}, err
	}
	name, err := uploads.FileName(a.o.Name, doc.Time, "Full", ".ndi.gz")
	if err != nil {
		return uploads.Receipt{}, fmt.Errorf("inventory: %w: give a shorter --name", err)
	}
	var gz bytes.Buffer
	z := gzip.NewWriter(&gz)
	if _, err := doc.WriteTo(z); err != nil {
		return uploads.Receipt{}, fmt.Errorf("write inventory: %w", err)
	}
	if err := z.Close(); err != nil {
		return uploads.Receipt{}, fmt.Errorf("write inventory: %w", err)
	}
	receipt, err := a.outbox.Put(ctx, "Inventories", name, doc.Time, int64(gz.Len()), &gz)
	if err != nil {
		return receipt, fmt.Errorf("keep inventory: %w", err)
	}
	sum := doc.Summary()
	a.log.Info("inventory taken", slog.String("file", name.String()), slog.Int64("bytes", receipt.Bytes),
		slog.Int("hardware", sum.Hardware), slog.Int("packages", sum.Packages))
	return receipt, nil
}

// shipLog puts what was logged since the last time into the spool.
func (a *Agent) shipLog(ctx context.Context) error {
	_, err := a.logFile.Ship(ctx, func(ctx context.Context, written time.Time, gz []byte) error {
		name, err := uploads.FileName(a.o.Name, written, "agent", ".log.gz")
		if err != nil {
			return err
		}
		_, err = a.outbox.Put(ctx, "Logs", name, written, int64(len(gz)), bytes.NewReader(gz))
		return err
	})
	return err
}
