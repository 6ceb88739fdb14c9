package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (a *admin) settleExport() *cobra.Command {
	var f cycleFlags
	var to string
	cmd := &cobra.Command{
		Use: "export [RUN]", Short: "Write out the items of a published settlement run as a table (Parquet)", Args: atMostRun,
		Long: `Write out the items of a published settlement run as one table in Parquet, which DuckDB,
pandas, Spark and most tools for analysts read: a row an item, with the columns of the
detail file, and what its acquirer, its issuer and the target of a swap see of it. Of the
cycle that has ended last when no run and no date is named.

Amounts are whole numbers of smallest units, with their decimals in a column beside them:
amt and ascale, all others and stdscale. In each row the net of acq_side, iss_side and
tgt_side, shares and house come to zero. Cards are masked. docs/files.md has the columns.

The items are computed again from the journal, and the file is only kept where rates, fees
and input are those that the run was published with. To ask it:

  duckdb -c "SELECT iss, kind, count(*), sum(iss_side.net) FROM 'items.parquet' GROUP BY ALL"`,
		Example: `  lianfen settle export --date 2026-03-02 --to items.parquet
  lianfen settle export 01KJJQZ3A0000000000000000A --to items.parquet`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			var items uint64
			err = writeWhole(cmd.OutOrStdout(), to, func(w io.Writer) (err error) {
				items, err = client.SettleExport(cmd.Context(), ask, w)
				return err
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%d items.\n", items)
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&to, "to", "", "file to write")
	requireFlags(cmd, "to")
	return cmd
}
