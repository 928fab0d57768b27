package beacon

import (
	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads/resumable"
)

// openResumable opens what is left of uploads that come in parts, inside the
// spool's folder: a whole file is renamed into the spool, not copied.
func (b *Beacon) openResumable() error {
	c := b.config.Resumable
	if !c.Enabled {
		return nil
	}
	store, found, err := resumable.Open(b.path(config.SpoolDir), resumable.Options{
		MaxAge: c.MaxAge, Files: c.MaxFiles, Bytes: int64(c.MaxBytes), Log: b.log,
		Device: resumable.Share{Files: c.SourceFiles, Bytes: int64(c.SourceBytes)},
		Child:  resumable.Share{Files: c.ChildFiles, Bytes: int64(c.ChildBytes)},
	})
	if err != nil {
		return err
	}
	b.closers = append(b.closers, store.Close)
	b.log.Debug("unfinished uploads", "open", found.Open, "done", found.Done, "damaged", found.Damaged)
	b.agents.Resumption = Resumption{Store: store, Adopt: b.spool.Adopt, Interim: c.Interim}
	return nil
}

// Unfinished says how uploads that come in parts are doing.
func (b *Beacon) Unfinished() resumable.Stats {
	if b.agents.Resumption.Store == nil {
		return resumable.Stats{}
	}
	return b.agents.Resumption.Store.Stats()
}

func (s sheet) unfinished(st resumable.Stats) {
	s.gauge("beacon_resumable_uploads", "Uploads that have come in part.", float64(st.Open))
	s.gauge("beacon_resumable_bytes", "Bytes of these that are here.", float64(st.Bytes))
	s.gauge("beacon_resumable_oldest_age_seconds", "Age of the oldest of these; 0 if there is none.", s.age(st.Oldest))
	s.counter("beacon_resumable_created_total", "Uploads begun in parts.", float64(st.Created))
	s.counter("beacon_resumable_completed_total", "Uploads in parts that became whole.", float64(st.Completed))
	s.counter("beacon_resumable_interrupted_total", "Requests that a newer one for the same upload ended.", float64(st.Interrupted))
	for _, reason := range resumable.Ends {
		s.counter("beacon_resumable_ended_total", "Uploads in parts that ended without becoming whole; their senders have the file.", float64(st.Ended[reason]), "reason", reason)
	}
}
