package admission

// A recent is a map that forgets what was not asked for lately, so that it never
// holds more than limit entries. The zero value is empty.
type recent[K comparable, V any] struct {
	limit      int
	young, old map[K]V
}

func (m *recent[K, V]) get(k K) (V, bool) {
	if v, ok := m.young[k]; ok {
		return v, true
	}
	v, ok := m.old[k]
	if ok {
		delete(m.old, k)
		m.put(k, v)
	}
	return v, ok
}

func (m *recent[K, V]) put(k K, v V) {
	if len(m.young) >= m.limit/2 {
		m.old, m.young = m.young, nil
	}
	if m.young == nil {
		m.young = map[K]V{}
	}
	m.young[k] = v
}

func (m *recent[K, V]) remove(k K) {
	delete(m.young, k)
	delete(m.old, k)
}

func (m *recent[K, V]) len() int { return len(m.young) + len(m.old) }
