// Package wire reads and writes the documents that devices fetch: policies
// (.npl), catalogues (.osd), schedules, settings and failover lists (.nds).
//
// Writers are strict: what they write is well-formed under XML namespaces and
// always the same bytes for the same value. Readers are lenient where the
// incumbent's documents need it (names like NETDEPLOY::X, processing
// instructions named XML::NAMESPACE, any case and order of attributes, a
// declared encoding that is not the one used) and strict where leniency is an
// attack: an internal subset is refused, nothing external is ever fetched, and
// depth, size and number of elements are bounded.
package wire

import "errors"

// ErrSyntax means a document cannot be read.
var ErrSyntax = errors.New("bad document")
