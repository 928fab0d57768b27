package beacon

import (
	"net/http"

	"github.com/gorilla/mux"
)

// An Admin answers on the administrators' address: whether the process lives,
// whether it serves, and its numbers.
type Admin struct {
	// Ready says why the beacon does not serve, or nil.
	Ready   func() error
	Metrics *Metrics
}

// Handler returns all routes.
func (a *Admin) Handler() http.Handler {
	r := mux.NewRouter()
	read := func(path string, h http.Handler) { r.Handle(path, readOnly(h)) }
	read("/healthz", plain(func() error { return nil }))
	read("/readyz", plain(a.Ready))
	read("/metrics", a.Metrics.Handler())
	return r
}

// MetricsHandler serves /metrics and nothing else.
func (a *Admin) MetricsHandler() http.Handler {
	r := mux.NewRouter()
	r.Handle("/metrics", readOnly(a.Metrics.Handler()))
	return r
}

func readOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func plain(check func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Cache-Control"] = noStore
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("ok\n"))
	})
}
