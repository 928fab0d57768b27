package spool

import (
	"maps"

	"inventorybeacon/uploads/spool/journal"
)

// counters are what happened since Open, and the blobs there are.
type counters struct {
	accepted, duplicates, delivered uint64
	lost                            map[string]uint64
	syncs, syncErrors               uint64
	sealed, freed                   uint64
	blobs                           int
	blobBytes                       int64
}

// Stats returns the numbers of this instant.
func (s *Spool) Stats() Stats {
	receipts, damaged := s.archive.Len(), s.archive.Damaged()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.counters
	st := Stats{
		Pending: s.held.count, PendingBytes: s.held.bytes, Oldest: s.oldest(&s.held, isHeld),
		Sinks:    map[string]SinkStats{},
		Segments: len(s.segments), Spares: len(s.spares), SpareBytes: s.spareBytes(),
		Blobs: c.blobs, BlobBytes: c.blobBytes,
		Budget: s.o.MemoryBudget, BudgetUsed: s.budget.taken(),
		InFlight: s.uploads, Receipts: receipts, DamagedReceipts: damaged,
		Accepted: c.accepted, Duplicates: c.duplicates, Delivered: c.delivered, Lost: maps.Clone(c.lost),
		Syncs: c.syncs, SyncErrors: c.syncErrors, SegmentsSealed: c.sealed, SegmentsFreed: c.freed,
	}
	for _, seg := range s.segments {
		st.SegmentBytes += seg.size
	}
	for _, seg := range s.spares {
		st.SegmentBytes += seg.size
	}
	for _, k := range s.sinks {
		st.Sinks[k.Name] = SinkStats{
			Pending: k.pending.count, Bytes: k.pending.bytes, Oldest: s.oldest(&k.pending, s.pendingFor(k)), Skipped: k.skipped,
		}
	}
	return st
}

// spareBytes is what uploads can take without taking disk.
func (s *Spool) spareBytes() (n int64) {
	for _, seg := range s.spares {
		n += seg.size - journal.Start
	}
	if s.active != nil && s.active.size > s.active.tail {
		n += s.active.size - s.active.tail
	}
	return n
}

// Free returns the bytes uploads can still take: free disk and free segments.
func (s *Spool) Free() (int64, error) {
	free, err := s.disk.Free()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return free + s.spareBytes(), nil
}
