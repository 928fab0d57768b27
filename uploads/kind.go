package uploads

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Kind is one sort of file that agents send.
type Kind struct {
	// Folder is the canonical name: the path segment under the upload root, the
	// incumbent's Incoming folder, the outbox folder.
	Folder string
	// Extensions it takes, with the leading dot, lower case; each also with ".gz".
	Extensions []string
	// MaxBytes is the largest body as sent. A larger limit lets one device hold
	// more of the disk; a smaller one sets honest files aside.
	MaxBytes int64
}

// DefaultMaxBytes is the limit of a kind that names none, about eight times
// the incumbent's default for a whole message.
const DefaultMaxBytes = 256 << 20

// Kinds are the sorts of file a receiver takes. The zero value takes none.
type Kinds struct {
	// AcceptUnknown takes folders that are not listed, with any extension.
	AcceptUnknown bool

	byFolder map[string]Kind   // lower-case folder
	byExt    map[string]string // extension to the folder it means, where it means one
}

// DefaultKinds returns the kinds every beacon takes.
func DefaultKinds() *Kinds {
	k := &Kinds{}
	for _, kind := range []Kind{
		{Folder: "Inventories", Extensions: []string{".ndi"}},
		{Folder: "UsageData", Extensions: []string{".mmi"}},
		{Folder: "Logs", Extensions: []string{".log", ".txt", ".zip"}},
		{Folder: "VdiAccess", Extensions: []string{".vdi"}},
		{Folder: "Discovery", Extensions: []string{".disco"}},
		{Folder: "ActiveDirectory", Extensions: []string{".actdir", ".xml"}},
		{Folder: "ActivityStatus", Extensions: []string{".xml"}},
		{Folder: "SecurityLogs", Extensions: []string{".log"}},
		{Folder: "Events", Extensions: []string{".ndjson"}},
		{Folder: "BeaconStatus", Extensions: []string{".ndjson"}},
		{Folder: "CommandResults", Extensions: []string{".json"}},
	} {
		k.Set(kind)
	}
	// A log without a folder is an ordinary log, although SecurityLogs takes the
	// extension too. The other shared extensions stay ambiguous.
	k.byExt[".log"] = "Logs"
	return k
}

// ambiguous marks an extension that several kinds take.
const ambiguous = ""

// Set adds a kind, or replaces the one of the same folder.
func (k *Kinds) Set(kind Kind) {
	if k.byFolder == nil {
		k.byFolder, k.byExt = map[string]Kind{}, map[string]string{}
	}
	if kind.MaxBytes == 0 {
		kind.MaxBytes = DefaultMaxBytes
	}
	k.byFolder[strings.ToLower(kind.Folder)] = kind
	for _, ext := range kind.Extensions {
		if other, taken := k.byExt[ext]; taken && other != kind.Folder {
			k.byExt[ext] = ambiguous
			continue
		}
		k.byExt[ext] = kind.Folder
	}
}

// All returns the kinds, by folder.
func (k *Kinds) All() []Kind {
	return slices.SortedFunc(maps.Values(k.byFolder), func(a, b Kind) int { return strings.Compare(a.Folder, b.Folder) })
}

// ByFolder finds the kind of a folder, in any case.
func (k *Kinds) ByFolder(folder string) (Kind, bool) {
	kind, ok := k.byFolder[strings.ToLower(folder)]
	return kind, ok
}

// For returns the kind of a file put under folder, or straight under the
// upload root if folder is empty, and an [ErrBadKind] if there is none or it
// does not take the name's extension.
func (k *Kinds) For(folder string, name Name) (Kind, error) {
	ext := name.Ext()
	if folder == "" {
		folder = k.byExt[ext]
		if folder == ambiguous {
			return Kind{}, fmt.Errorf("%w: extension %q alone does not say what it is: put it under its kind's folder", ErrBadKind, ext)
		}
	}
	kind, ok := k.ByFolder(folder)
	switch {
	case ok && slices.Contains(kind.Extensions, ext):
		return kind, nil
	case ok:
		return Kind{}, fmt.Errorf("%w: %s takes %s, not %q", ErrBadKind, kind.Folder, strings.Join(kind.Extensions, " "), ext)
	case k.AcceptUnknown:
		return k.unknown(folder)
	default:
		return Kind{}, fmt.Errorf("%w: %q", ErrBadKind, folder)
	}
}

// unknown makes up a kind for a folder nobody listed; its name becomes a
// folder further up, so it obeys the rules of names.
func (k *Kinds) unknown(folder string) (Kind, error) {
	n, err := ParseName(folder)
	if err != nil {
		return Kind{}, fmt.Errorf("%w: folder: %w", ErrBadKind, err)
	}
	return Kind{Folder: n.String(), MaxBytes: DefaultMaxBytes}, nil
}
