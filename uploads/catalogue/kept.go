package catalogue

import (
	"context"
	"fmt"
	"iter"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/kept"
	"inventorybeacon/uploads/ledger"
)

// A KeptFile is what the index takes of one file in kept/. Losses is what it tells
// of if it is a report.
type KeptFile struct {
	kept.Entry
	Losses []ledger.Loss
}

// Copies are what lies in kept/.
type Copies interface {
	Entries() iter.Seq[kept.Entry]
	Body(kept.Entry) (uploads.Body, error)
}

// KeptFiles returns what the index takes of all copies.
func KeptFiles(c Copies) iter.Seq[KeptFile] {
	return func(yield func(KeptFile) bool) {
		for e := range c.Entries() {
			if !yield(KeptFileOf(c, e)) {
				return
			}
		}
	}
}

// KeptFileOf returns what the index takes of a copy. A report that cannot be read
// tells of nothing.
func KeptFileOf(c Copies, e kept.Entry) KeptFile {
	f := KeptFile{Entry: e}
	if !ledger.IsReport(e.Kind, e.Name) {
		return f
	}
	body, err := c.Body(e)
	if err != nil {
		return f
	}
	defer body.Close()
	if losses, err := ledger.Read(body); err == nil {
		f.Losses = losses
	}
	return f
}

// ReplaceKept forgets what lay in kept/ and takes these files.
func (c *Catalogue) ReplaceKept(ctx context.Context, files iter.Seq[KeptFile]) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	err := c.write(ctx, func(b *batch) error {
		for _, statement := range []string{`DELETE FROM kept`, `DELETE FROM reported`} {
			if _, err := b.exec(statement); err != nil {
				return err
			}
		}
		return nil
	})
	var some []KeptFile
	for f := range files {
		if err != nil {
			break
		}
		if some = append(some, f); len(some) == batchKept {
			err = c.addKept(ctx, some)
			some = some[:0]
		}
	}
	if err == nil {
		err = c.addKept(ctx, some)
	}
	if err != nil {
		return fmt.Errorf("index kept files: %w", err)
	}
	return nil
}

// batchKept is how many kept files are indexed in a transaction: a report among
// them may tell of many losses.
const batchKept = 256

// ChangeKept forgets files that left kept/, by their receipts, and takes more.
func (c *Catalogue) ChangeKept(ctx context.Context, added []KeptFile, left []string) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	err := c.write(ctx, func(b *batch) error {
		for _, receipt := range left {
			if _, err := b.exec(`DELETE FROM kept WHERE receipt = ?`, receipt); err != nil {
				return err
			}
			if _, err := b.exec(`DELETE FROM reported WHERE report = ?`, receipt); err != nil {
				return err
			}
		}
		return b.keep(added)
	})
	if err != nil {
		return fmt.Errorf("index kept files: %w", err)
	}
	return nil
}

func (c *Catalogue) addKept(ctx context.Context, files []KeptFile) error {
	return c.write(ctx, func(b *batch) error { return b.keep(files) })
}

func (b *batch) keep(files []KeptFile) error {
	for _, f := range files {
		domainKey, nameKey := "", ""
		if !f.Device.IsZero() {
			domainKey, nameKey = keys(f.Device)
		}
		if _, err := b.exec(`INSERT OR REPLACE INTO kept VALUES (?,?,?,?,?,?,?,?,?,?,?)`,
			f.ID, f.Kind, f.Name.String(), f.Device.Domain, f.Device.Name, domainKey, nameKey,
			f.Digest[:], f.Size, millis(f.Received), millis(f.Taken())); err != nil {
			return err
		}
		for _, l := range f.Losses {
			if err := b.reported(f.ID, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxReported bounds the losses of others that are listed, at under 1 KiB each.
// More remember a long outage of a large tree; whoever reports cannot fill the
// disk with them.
const maxReported = 200_000

// reported notes a loss that a report tells of. If the bytes arrived here since,
// it is closed.
func (b *batch) reported(report string, l ledger.Loss) error {
	var digest uploads.Digest
	if l.SHA256 != nil {
		digest = *l.SHA256
	}
	domainKey, nameKey := "", ""
	if l.Device != "" {
		domainKey, nameKey = keys(uploads.Device{Domain: l.Domain, Name: l.Device})
	}
	at := millis(l.At)
	_, err := b.exec(`INSERT OR IGNORE INTO reported (beacon, at, seq, receipt, kind, name, domain, device, domain_key, device_key,
		sha256, bytes, received, reason, detail, report, resent) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,
		CASE WHEN ? = '' THEN 0 ELSE coalesce((SELECT min(seq) FROM uploads WHERE receipt = ? AND received >= ?), 0) END)`,
		l.Beacon, at, int64(l.Seq), l.Receipt, l.Kind, l.Name, l.Domain, l.Device, domainKey, nameKey,
		digest[:], l.Bytes, millis(l.Received), l.Reason, l.Detail, report, l.Receipt, l.Receipt, at)
	return err
}
