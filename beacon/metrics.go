package beacon

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/problem"
)

// Metrics are a beacon's numbers. Their names are a contract; docs/OPERATIONS.md
// lists them.
type Metrics struct {
	registry *prometheus.Registry

	uploadsAccepted *prometheus.CounterVec // kind
	uploadBytes     *prometheus.CounterVec // kind
	duplicates      *prometheus.CounterVec // kind
	refusals        *prometheus.CounterVec // method, code
	limits          *prometheus.CounterVec // reason
	downloads       map[int]prometheus.Counter
	dialsRefused    prometheus.Counter
	reloadErrors    prometheus.Counter
	receiptsSigned  prometheus.Counter
}

// NewMetrics returns metrics that count from zero.
func NewMetrics() *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), downloads: map[int]prometheus.Counter{}}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.uploadsAccepted = m.vec("beacon_uploads_accepted_total", "Uploads answered with a receipt for bytes that were new.", "kind")
	m.uploadBytes = m.vec("beacon_uploads_accepted_bytes_total", "Bytes of accepted uploads.", "kind")
	m.duplicates = m.vec("beacon_uploads_duplicate_total", "Uploads answered with the receipt of an earlier one.", "kind")
	m.refusals = m.vec("beacon_requests_refused_total", "Requests answered with a problem document.", "method", "code")
	m.limits = m.vec("beacon_admission_refused_total", "Requests turned away by a limit, by which.", "reason")
	for _, r := range admission.Reasons() {
		m.limits.WithLabelValues(string(r))
	}
	downloads := m.vec("beacon_downloads_total", "Downloads answered, by status.", "status")
	for _, status := range []int{http.StatusOK, http.StatusPartialContent, http.StatusNotModified} {
		m.downloads[status] = downloads.WithLabelValues(strconv.Itoa(status))
	}
	m.dialsRefused = m.counter("beacon_dials_refused_total", "Connections that the beacon wanted to open and was not allowed to.")
	m.reloadErrors = m.counter("beacon_certificate_reload_errors_total", "Times that a changed certificate could not be used; the old one stays.")
	m.receiptsSigned = m.counter("beacon_receipts_signed_total", "Receipts that were asked for, with the custody reached by then.")
	return m
}

func (m *Metrics) vec(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

// Register adds numbers that are asked for when they are read.
func (m *Metrics) Register(c prometheus.Collector) { m.registry.MustRegister(c) }

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

func (m *Metrics) accepted(r uploads.Receipt) {
	if r.Duplicate {
		m.duplicates.WithLabelValues(r.Kind).Inc()
		return
	}
	m.uploadsAccepted.WithLabelValues(r.Kind).Inc()
	m.uploadBytes.WithLabelValues(r.Kind).Add(float64(r.Bytes))
}

// refused counts a refusal. A method is a sender's word, so that unusual ones
// are counted together.
func (m *Metrics) refused(method string, code problem.Code) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch:
	default:
		method = "other"
	}
	m.refusals.WithLabelValues(method, string(code)).Inc()
}

// limited counts a refusal by a limit.
func (m *Metrics) limited(r admission.Reason) {
	if r != "" {
		m.limits.WithLabelValues(string(r)).Inc()
	}
}

func (m *Metrics) downloaded(status int) {
	if c, ok := m.downloads[status]; ok {
		c.Inc()
	}
}
