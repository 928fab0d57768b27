package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/desk"
	"inventorybeacon/beacon/signing"
	"inventorybeacon/cmd/internal/cli"
)

const showLong = `Show all that is known of one upload. The start of a receipt is enough if no other
begins with it.

With --signed FILE the receipt, with the custody reached by now, is written to FILE
and the beacon's signature over it to FILE.sig. Whoever has the beacon's public
key, keys/beacon.pub in its data directory, can check it:

  openssl pkeyutl -verify -pubin -inkey beacon.pub -rawin -in FILE -sigfile FILE.sig`

func uploadsShow(o *operator) *cobra.Command {
	var signed string
	cmd := &cobra.Command{
		Use: "show RECEIPT", Short: "Show all that is known of one upload", Long: showLong, Args: cli.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := desk.ShowUpload.Ask(cmd.Context(), o.data, args[0])
			if err != nil {
				return err
			}
			if signed != "" {
				if err := saveSigned(u, signed); err != nil {
					return err
				}
			}
			return o.print(cmd, u, func() error { return uploadFacts(u, signed).write(cmd.OutOrStdout()) })
		},
	}
	cmd.Flags().StringVar(&signed, "signed", "", "write the signed receipt to this file, and its signature beside it with .sig")
	return cmd
}

func saveSigned(u desk.ShownUpload, file string) error {
	if u.Signed == nil {
		return fmt.Errorf("%s is %s: there is no receipt to sign", u.Name, u.State)
	}
	if err := os.WriteFile(file, []byte(u.Signed.Body), 0o644); err != nil {
		return fmt.Errorf("write signed receipt: %w", err)
	}
	if err := os.WriteFile(file+".sig", u.Signed.Signature, 0o644); err != nil {
		return fmt.Errorf("write signature: %w", err)
	}
	return nil
}

func uploadFacts(u desk.ShownUpload, signed string) facts {
	f := facts{
		{"receipt", u.Receipt}, {"state", string(u.State)}, {"kind", u.Kind}, {"name", u.Name},
		{"device", deviceName(u.Domain, u.Device)}, {"sha256", u.SHA256.String()},
		{"size", fmt.Sprintf("%s (%d bytes)", cli.Size(u.Bytes), u.Bytes)},
		{"received", cli.When(u.Received)}, {"from", u.Peer}, {"beacon", u.Upload.Beacon},
		{"via", strings.Join(u.Via, ", ")}, {"flagged", u.Flag}, {"reason", u.Reason}, {"detail", u.Detail},
	}
	if u.Kept {
		f = append(f, fact{"kept", "yes: print it with `beacon uploads cat`"})
	}
	for _, r := range u.Refusals {
		f = append(f, fact{"refused", fmt.Sprintf("%s by %s: %s", cli.When(r.At), r.Sink, r.Detail)})
	}
	for _, d := range u.Deliveries {
		f = append(f, fact{"delivered", fmt.Sprintf("%s to %s", cli.When(d.At), d.Sink)})
	}
	for _, c := range u.Custody {
		f = append(f, fact{"custody", fmt.Sprintf("%s %s at %s", cli.When(c.At), c.Level, c.Beacon)})
	}
	if u.Signed != nil {
		f = append(f, fact{"signature", signing.Encode(u.Signed.Signature)})
	}
	if signed != "" {
		f = append(f, fact{"signed", fmt.Sprintf("%s and %s.sig, by the key whose public part is %s/%s", signed, signed, config.KeysDir, signing.PublicFile)})
	}
	return f
}
