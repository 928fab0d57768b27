package beacon

import (
	"hash/maphash"
	"sync"
)

// answers remembers what recent requests were answered, for as long as what is
// published stays the same.
type answers struct {
	shards [16]struct {
		sync.RWMutex
		of  Snapshot
		uri map[string]*answer
	}
}

// maxAnswers bounds one shard. More serve more devices' polls from memory; each
// holds a device's documents, some kilobytes.
const maxAnswers = 256

// maxURI is the longest request that is remembered. Ours are a tenth of it; what
// a scanner makes up must not be what fills the memory.
const maxURI = 1 << 10

var seed = maphash.MakeSeed()

// get returns what uri was answered out of s, or nil.
func (c *answers) get(uri string, s Snapshot) *answer {
	sh := &c.shards[maphash.String(seed, uri)%uint64(len(c.shards))]
	sh.RLock()
	defer sh.RUnlock()
	if sh.of != s {
		return nil
	}
	return sh.uri[uri]
}

func (c *answers) put(uri string, s Snapshot, ans *answer) {
	if len(uri) > maxURI {
		return
	}
	sh := &c.shards[maphash.String(seed, uri)%uint64(len(c.shards))]
	sh.Lock()
	defer sh.Unlock()
	if sh.of != s || len(sh.uri) >= maxAnswers {
		sh.of, sh.uri = s, map[string]*answer{}
	}
	sh.uri[uri] = ans
}
