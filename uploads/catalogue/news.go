package catalogue

import "time"

// A Refusal is one sink's word that it will never take a file. Others may have.
type Refusal struct {
	Sink   string    `json:"sink"`
	At     time.Time `json:"at"`
	Detail string    `json:"detail"`
}

// refused notes that a sink will never take an upload.
func (b *batch) refused(e Event) error {
	_, err := b.exec(`INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?)`, int64(e.Upload.Seq), e.Sink, millis(e.At), e.Detail)
	return err
}

// learnt notes who was heard of later to have an upload, if it is still listed.
func (b *batch) learnt(e Event) error {
	custody, err := list(e.Custody)
	if err != nil {
		return err
	}
	seq := int64(e.Upload.Seq)
	_, err = b.exec(`INSERT OR IGNORE INTO learnt SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM uploads WHERE seq = ?)`,
		seq, int64(e.Seq), millis(e.At), custody, seq)
	return err
}

func (u Upload) refusedBy(sink string) bool {
	for _, r := range u.Refusals {
		if r.Sink == sink {
			return true
		}
	}
	return false
}

// forgetNews forgets what is known of uploads beside them; those that are selected
// by their seq.
func (b *batch) forgetNews(selected string, args ...any) error {
	for _, table := range []string{"deliveries", "refusals", "learnt"} {
		if _, err := b.exec(`DELETE FROM `+table+` WHERE seq IN (`+selected+`)`, args...); err != nil {
			return err
		}
	}
	return nil
}
