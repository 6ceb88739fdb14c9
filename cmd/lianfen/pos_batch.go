package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// keep appends an answered request to the receipts file, if there is one.
func (p *pos) keep(r *sim.Receipt) (err error) {
	if p.receipts == "" {
		return nil
	}
	keeper, err := os.OpenFile(p.receipts, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("receipts: %w", err)
	}
	defer func() { err = errors.Join(err, keeper.Close()) }()
	return writeReceipt(keeper, r)
}

// remember lets a terminal count what its receipts tell. Without a file it has sold nothing.
func (p *pos) remember(t *sim.Terminal) (err error) {
	if p.receipts == "" {
		return nil
	}
	err = eachReceipt(p.receipts, func(_ int, kept *keptReceipt, sent []byte) error {
		got, err := hex.DecodeString(kept.Got)
		if err != nil {
			return err
		}
		return t.Remember(sent, got)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// eachReceipt reads a receipts file; an error names the line.
func eachReceipt(path string, visit func(n int, kept *keptReceipt, sent []byte) error) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("receipts: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 64<<10)
	for n := 1; lines.Scan(); n++ {
		var kept keptReceipt
		err := json.Unmarshal(lines.Bytes(), &kept)
		var sent []byte
		if err == nil {
			sent, err = hex.DecodeString(kept.Sent)
		}
		if err == nil {
			err = visit(n, &kept, sent)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	return lines.Err()
}

// signedOn runs do with the terminal, which knows what its receipts tell and has signed
// on. A sign-on that is refused is explained instead.
func (p *pos) signedOn(do func(*cobra.Command, *sim.Terminal) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) (err error) {
		who, err := sim.ParseIdentity(p.terminal, p.merchant)
		if err != nil {
			return usage("%w", err)
		}
		t := p.at(who, drawnSTAN())
		t.First = p.timeout
		if t.Keys, err = p.keysOf(who, ""); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.HangUp()) }()
		if err := p.remember(t); err != nil {
			return err
		}
		signOn := t.Next(points.SignOn)
		sim.Dress(&signOn)
		receipt, err := t.SendFor(cmd.Context(), &signOn, p.retry)
		if err != nil {
			return p.unheard(err)
		}
		if !receipt.Response.Reason.Approved() {
			return p.explain(cmd, receipt)
		}
		if p.stan != 0 {
			t.STAN = p.stan - 1
		}
		return do(cmd, t)
	}
}

// closing is the outcome of a batch close for machines.
type closing struct {
	answer
	Totals totalsText `json:"totals"`
	Equal  bool       `json:"equal"`
	Sent   *int       `json:"sent_up,omitempty"`
	Upload *answer    `json:"upload,omitempty"` // the last answer of the upload
}

// totalsText is totals by the names that they have in JSON.
type totalsText struct {
	DebitAmount  points.Amount `json:"debit_amount"`
	DebitCount   uint32        `json:"debit_count"`
	CreditAmount points.Amount `json:"credit_amount"`
	CreditCount  uint32        `json:"credit_count"`
}

func totalsOf(t points.Totals) totalsText {
	return totalsText{t.DebitAmount, t.DebitCount, t.CreditAmount, t.CreditCount}
}

func (t totalsText) String() string {
	return fmt.Sprintf("debits %d in %d, credits %d in %d", t.DebitAmount, t.DebitCount, t.CreditAmount, t.CreditCount)
}

func (p *pos) closeBatch() *cobra.Command {
	var upload bool
	cmd := &cobra.Command{
		Use: "close", Short: "Close the batch with the totals of the receipts 批结算; unequal is exit status 1", Args: none,
		Long: `Close the terminal's batch: send the totals of what the receipts file tells of this
terminal and batch, and show whether the switch has counted the same. With --upload the
transactions are sent up when it has not (批上送).`,
		Example: `  lianfen pos redeem --card 6222020000000000017 --program 901 --amount 300 --receipts till.jsonl
  lianfen pos close --receipts till.jsonl --upload`,
		RunE: p.signedOn(func(cmd *cobra.Command, t *sim.Terminal) error {
			req := t.Closing()
			receipt, err := t.SendFor(cmd.Context(), &req, p.retry)
			if err != nil {
				return err
			}
			if err := p.keep(receipt); err != nil {
				return err
			}
			c := closing{answer: answerOf(receipt), Totals: totalsOf(req.Totals), Equal: receipt.Response.Reason.Approved()}
			if upload && receipt.Response.Reason == points.TotalsDiffer {
				last, sent, err := t.Upload(cmd.Context(), p.retry)
				if err != nil {
					return err
				}
				end := answerOf(last)
				c.Sent, c.Upload = &sent, &end
			}
			return p.printClosing(cmd, &c)
		}),
	}
	cmd.Flags().BoolVar(&upload, "upload", false, "send the transactions up when the totals differ")
	return cmd
}

func (p *pos) printClosing(cmd *cobra.Command, c *closing) error {
	var err error
	if p.asJSON {
		err = writeJSON(cmd.OutOrStdout(), c)
	} else {
		var t table
		t.row("request", fmt.Sprintf("%v, STAN %s", c.Function, c.STAN))
		t.row("batch", c.Batch)
		t.row("totals", c.Totals)
		result := c.Code + "  " + c.Meaning + "  " + c.MeaningZH
		if c.Equal {
			result = "equal"
		}
		t.row("result", result)
		if !c.Equal && c.Upload == nil && c.Code == points.TotalsDiffer.DE39() {
			t.row("next", "send the transactions up: lianfen pos close --upload, with the same --receipts and --batch 批上送")
		}
		if c.Upload != nil {
			t.row("sent up", fmt.Sprintf("%s: %s  %s  %s", points.Counted(*c.Sent, "transaction", "transactions"), c.Upload.Code, c.Upload.Meaning, c.Upload.MeaningZH))
		}
		err = t.write(cmd.OutOrStdout())
	}
	if err == nil && !c.Equal {
		return &statusError{status: exitFault}
	}
	return err
}

func (p *pos) totals() *cobra.Command {
	var batch uint32
	cmd := &cobra.Command{
		Use: "totals", Short: "Show what the receipts say of a batch; nothing is sent", Args: none,
		Example: "  lianfen pos totals --receipts till.jsonl --batch 7",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.receipts == "" {
				return usage("--receipts names the file that is counted")
			}
			who, err := sim.ParseIdentity(p.terminal, p.merchant)
			if err != nil {
				return usage("%w", err)
			}
			t := p.at(who, 0)
			if err := p.remember(t); err != nil {
				return err
			}
			totals := totalsOf(t.Till.Totals(batch))
			if p.asJSON {
				return writeJSON(cmd.OutOrStdout(), totals)
			}
			return say(cmd, "Batch %06d of %v: %v.", batch, t.Terminal, totals)
		},
	}
	cmd.Flags().Var(decimal(&batch, 0), "batch", "batch number")
	requireFlags(cmd, "batch")
	return cmd
}

// parameter is one of a terminal's parameters for machines.
type parameter struct {
	Name    string `json:"name"`
	Chinese string `json:"name_zh"`
	Value   string `json:"value"`
}

func (p *pos) download() *cobra.Command {
	return &cobra.Command{
		Use: "download", Short: "Download the terminal's parameters 参数下载", Args: none,
		RunE: p.signedOn(func(cmd *cobra.Command, t *sim.Terminal) error {
			req := t.Next(points.Download)
			receipt, err := t.SendFor(cmd.Context(), &req, p.retry)
			if err != nil {
				return err
			}
			if !receipt.Response.Reason.Approved() {
				return p.explain(cmd, receipt)
			}
			e, err := t.Explained(receipt)
			if err != nil {
				return err
			}
			list := []parameter{}
			for _, field := range e.Fields {
				for _, part := range field.Parts {
					if field.Number == 62 {
						list = append(list, parameter{part.Name, part.Chinese, part.Value})
					}
				}
			}
			if p.asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"parameters": list})
			}
			var table table
			for _, one := range list {
				table.row(one.Name, one.Value, one.Chinese)
			}
			return table.write(cmd.OutOrStdout())
		}),
	}
}
