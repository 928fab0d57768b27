package catalogue

// replaced notes that a newer file took the place of one that waited.
func (b *batch) replaced(e Event) error {
	_, err := b.exec(`UPDATE uploads SET state = ?, ended = ?, detail = ? WHERE seq = ? AND reason = ''`,
		StateReplaced, millis(e.At), e.Detail, int64(e.Upload.Seq))
	return err
}
