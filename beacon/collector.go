package beacon

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

// A collector asks a beacon's parts for their numbers when they are read.
type collector struct{ b *Beacon }

// Describe implements [prometheus.Collector]: which sinks and reasons there are
// shows only when it is asked.
func (collector) Describe(chan<- *prometheus.Desc) {}

// A sheet is a reading in progress.
type sheet struct {
	ch  chan<- prometheus.Metric
	now time.Time
}

func (s sheet) put(t prometheus.ValueType, name, help string, v float64, labels ...string) {
	var keys, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		keys, values = append(keys, labels[i]), append(values, labels[i+1])
	}
	s.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, keys, nil), t, v, values...)
}

func (s sheet) gauge(name, help string, v float64, labels ...string) {
	s.put(prometheus.GaugeValue, name, help, v, labels...)
}

func (s sheet) counter(name, help string, v float64, labels ...string) {
	s.put(prometheus.CounterValue, name, help, v, labels...)
}

// age is 0 for a time that was never.
func (s sheet) age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, s.now.Sub(t).Seconds())
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := sheet{ch, time.Now()}
	b := c.b
	s.gauge("beacon_ready", "1 while the beacon serves and its spool works.", truth(b.Ready() == nil))
	s.pressure(b.Pressure(s.now), b.fronts)
	st := b.spool.Stats()
	s.spool(st)
	if free, err := b.spool.Free(); err == nil {
		s.gauge("beacon_spool_free_bytes", "Bytes that uploads can still take: free disk and free segments.", float64(free))
	}
	for _, r := range b.Relays() {
		s.relay(r, st.Sinks[r.Sink])
	}
	for _, a := range b.askers {
		s.inquiry(a.Status())
	}
	s.unfinished(b.Unfinished())
	s.catalogue(b.catalogue.Stats())
	s.kept(b.kept.Stats())
	s.losses(b)
	s.fleet(b)
	s.content(b.gate.Stats(), b.quarantine.Usage(), b.quarantine.Left())
	r := b.policies.Current().Revision()
	s.gauge("beacon_policy_revision", "Number of the revision in force; 0 if nothing was published.", float64(r.Number))
	s.gauge("beacon_policy_epoch", "Epoch of the revision in force.", float64(r.Epoch))
	if !r.IsZero() {
		s.gauge("beacon_policy_published_timestamp_seconds", "When the revision in force was published.", float64(r.Created.Unix()))
	}
	seen := map[string]bool{}
	for _, p := range b.certificates {
		if !seen[p.certificate] {
			s.gauge("beacon_certificate_expiry_timestamp_seconds", "When the certificate in force ends.", float64(p.expires().Unix()), "file", p.certificate)
		}
		seen[p.certificate] = true
	}
}

func (s sheet) spool(st spool.Stats) {
	s.gauge("beacon_spool_files", "Files that wait for a required destination.", float64(st.Pending))
	s.gauge("beacon_spool_bytes", "Bytes of these files.", float64(st.PendingBytes))
	s.gauge("beacon_spool_oldest_age_seconds", "Age of the oldest of these files; 0 if there is none.", s.age(st.Oldest))
	s.gauge("beacon_spool_segments", "Journal files with records.", float64(st.Segments))
	s.gauge("beacon_spool_spare_segments", "Journal files ready for use.", float64(st.Spares))
	s.gauge("beacon_spool_segment_bytes", "Bytes of all journal files on disk.", float64(st.SegmentBytes))
	s.gauge("beacon_spool_blobs", "Bodies in files of their own.", float64(st.Blobs))
	s.gauge("beacon_spool_blob_bytes", "Bytes of these bodies.", float64(st.BlobBytes))
	s.gauge("beacon_spool_memory_bytes", "Memory in use for bodies that are being taken.", float64(st.BudgetUsed))
	s.gauge("beacon_spool_memory_limit_bytes", "Most memory for bodies that are being taken.", float64(st.Budget))
	s.gauge("beacon_spool_receipts", "Receipts kept for files that are gone.", float64(st.Receipts))
	s.gauge("beacon_spool_receipts_damaged", "Parts of the receipts' files that turned out to be unreadable.", float64(st.DamagedReceipts))
	s.counter("beacon_spool_syncs_total", "Disk syncs that acknowledged uploads.", float64(st.Syncs))
	s.counter("beacon_spool_sync_errors_total", "Disk syncs that failed; the segment is not used again.", float64(st.SyncErrors))
	s.counter("beacon_uploads_delivered_total", "Files that left because every required destination has them.", float64(st.Delivered))
	for _, reason := range []string{spool.LossQuota, spool.LossAge, spool.LossRefused, spool.LossOperator, spool.LossDamaged} {
		s.counter("beacon_uploads_lost_total", "Files that left in any other way; the loss ledger names them.", float64(st.Lost[reason]), "reason", reason)
	}
}

func (s sheet) relay(r relay.Status, q spool.SinkStats) {
	l := []string{"sink", r.Sink}
	s.gauge("beacon_relay_waiting_files", "Files that wait for a destination.", float64(q.Pending), l...)
	s.gauge("beacon_relay_waiting_bytes", "Bytes of these files.", float64(q.Bytes), l...)
	s.gauge("beacon_relay_oldest_age_seconds", "Age of the oldest of these files; 0 if there is none.", s.age(q.Oldest), l...)
	s.gauge("beacon_relay_deferred_files", "Files that failed while others passed.", float64(r.Deferred), l...)
	s.gauge("beacon_relay_failures_in_a_row", "Failures since the last success; 0 while it works.", float64(r.FailuresInARow), l...)
	s.gauge("beacon_relay_set_aside_files", "Files the destination refused for now.", float64(r.SetAside), l...)
	s.gauge("beacon_relay_open", "0 outside the hours of the destination.", truth(r.ClosedUntil.IsZero()), l...)
	s.gauge("beacon_relay_stopped", "1 if the destination is part of a loop.", truth(r.Stopped), l...)
	s.counter("beacon_relay_delivered_total", "Files the destination took.", float64(r.Delivered), l...)
	s.counter("beacon_relay_failures_total", "Deliveries that failed and are tried again.", float64(r.Failures), l...)
	s.counter("beacon_relay_quarantined_total", "Files the destination will never take.", float64(r.Quarantined), l...)
	s.counter("beacon_relay_skipped_total", "Files that left the spool without this optional destination.", float64(q.Skipped), l...)
}

func (s sheet) catalogue(st catalogue.Stats) {
	s.gauge("beacon_catalogue_queue_events", "Events waiting to be indexed.", float64(st.Queue))
	s.counter("beacon_catalogue_indexed_total", "Events indexed.", float64(st.Indexed))
	s.counter("beacon_catalogue_failures_total", "Batches that could not be written and are tried again.", float64(st.Failures))
	s.counter("beacon_catalogue_sightings_dropped_total", "Contacts not recorded because they came too fast.", float64(st.SightingsDropped))
	s.counter("beacon_catalogue_strangers_dropped_total", "Names without an upload that made room for others.", float64(st.StrangersDropped))
	s.counter("beacon_catalogue_devices_refused_total", "Uploads indexed without their device because too many are known.", float64(st.DevicesRefused))
}
