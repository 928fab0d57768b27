package desk

import (
	"context"

	"inventorybeacon/uploads/catalogue"
)

// ListLosses asks what left a spool in another way than by delivery.
var ListLosses = Call[catalogue.LossFilter, []catalogue.Loss]{"uploads.losses", (*Desk).listLosses}

func (d *Desk) listLosses(ctx context.Context, in catalogue.LossFilter) ([]catalogue.Loss, error) {
	cat, err := d.catalogue(ctx)
	if err != nil {
		return nil, err
	}
	return cat.Losses(ctx, in)
}
