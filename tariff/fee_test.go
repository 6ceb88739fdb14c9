package tariff_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// charge appends the schedule that Next makes of rows, in force ten minutes after dawn.
func charge(t require.TestingT, rows ...tariff.FeeRow) *tariff.Fees {
	fees := tariff.NewFees()
	schedule, err := fees.Next(dawn+10*minute, rows, "ann", "bob", dawn)
	require.NoError(t, err)
	require.NoError(t, fees.Append(schedule))
	return fees
}

// An item pays by the row that fits and fixes most columns. A schedule is refused if,
// and only if, two rows are about the same items, or fit some item equally well and no
// other row fixes more of it.
func TestMostSpecificRowWins(t *testing.T) {
	institutions, codes, programs := []tariff.Member{1, 2, 3}, []uint16{0, 5411, 5812}, []points.ProgramID{900, 901}
	rates := tariff.NewRates()
	for _, program := range programs {
		approve(t, rates, tariff.Terms{Program: program, Side: tariff.Clear, From: dawn + 10*minute, Num: 1, Den: 1}, dawn)
	}
	accepted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		rows := make([]tariff.FeeRow, rapid.IntRange(1, 6).Draw(t, "rows"))
		for i := range rows {
			rows[i] = tariff.FeeRow{
				Kind: tariff.KindRDM, Fixed: points.Amount(i + 1), // tells the row
				Issuer:   rapid.SampledFrom([]tariff.Member{0, 1, 2}).Draw(t, "issuer"),
				Acquirer: rapid.SampledFrom([]tariff.Member{0, 1}).Draw(t, "acquirer"),
				MCC:      rapid.SampledFrom([]uint16{0, 5411}).Draw(t, "mcc"),
				Program:  rapid.SampledFrom([]points.ProgramID{0, 900}).Draw(t, "program"),
			}
		}
		// Every item that there can be, and the rows for it by looking at all.
		tied := false
		for i := range rows {
			for j := range rows[:i] {
				tied = tied || rows[i].Issuer == rows[j].Issuer && rows[i].Acquirer == rows[j].Acquirer &&
					rows[i].MCC == rows[j].MCC && rows[i].Program == rows[j].Program
			}
		}
		want := make(map[tariff.Item]int)
		for _, issuer := range institutions {
			for _, acquirer := range institutions {
				for _, mcc := range codes {
					for _, program := range programs {
						item := tariff.Item{
							Kind: tariff.KindRDM, Issuer: issuer, Acquirer: acquirer, MCC: mcc, Program: program, Amount: 100, At: dawn + 10*minute,
						}
						best, most, times := -1, -1, 0
						for i, row := range rows {
							fixes, fits := 0, true
							for _, column := range [][2]uint64{
								{uint64(row.Issuer), uint64(issuer)},
								{uint64(row.Acquirer), uint64(acquirer)},
								{uint64(row.MCC), uint64(mcc)},
								{uint64(row.Program), uint64(program)},
							} {
								if column[0] != 0 {
									fixes++
									fits = fits && column[0] == column[1]
								}
							}
							switch {
							case !fits || fixes < most:
							case fixes == most:
								times++
							default:
								best, most, times = i, fixes, 1
							}
						}
						tied = tied || times > 1
						want[item] = best
					}
				}
			}
		}
		fees := tariff.NewFees()
		schedule, err := fees.Next(dawn+10*minute, rows, "ann", "bob", dawn)
		if tied {
			refused++
			require.ErrorContains(t, err, "fit")
			return
		}
		accepted++
		require.NoError(t, err)
		require.NoError(t, fees.Append(schedule))
		var v tariff.Valuation
		for item, row := range want {
			fault := tariff.Value(rates, fees, &item, &v)
			if row < 0 {
				require.Equal(t, tariff.NoFeeRow, fault)
				continue
			}
			require.Equal(t, tariff.OK, fault)
			require.Equal(t, points.Amount(row+1), v.Fee, "%+v", item)
		}
	})
	require.Positive(t, accepted)
	require.Positive(t, refused)
}

// The refusal names the rows that tie, and says what to add; with that row they do not.
func TestTiesAreNamed(t *testing.T) {
	rows := []tariff.FeeRow{
		{Kind: tariff.KindRDM}, {Kind: tariff.KindEAR, Issuer: 1}, {Kind: tariff.KindRDM, Issuer: 1}, {Kind: tariff.KindRDM, Acquirer: 2, Fixed: 5},
	}
	_, err := tariff.NewFees().Next(dawn+10*minute, rows, "ann", "bob", dawn)
	require.ErrorContains(t, err, "rows 3 and 4 fit RDM items of issuer 00000001, acquirer 00000002, MCC 0000, programme 0 equally well; add a row for just these")
	charge(t, append(rows, tariff.FeeRow{Kind: tariff.KindRDM, Issuer: 1, Acquirer: 2, Fixed: 9})...)
	_, err = tariff.NewFees().Next(dawn+10*minute, append(rows[:3:3], rows[2]), "ann", "bob", dawn)
	require.ErrorContains(t, err, "rows 3 and 4 fit the same items; keep one")
}

// What cannot be charged is refused with a sentence that names the row.
func TestScheduleRefusals(t *testing.T) {
	share := func(shares ...tariff.Share) func(*tariff.FeeRow) { return func(r *tariff.FeeRow) { r.Shares = shares } }
	half := tariff.Share{Role: tariff.RoleIssuer, Weight: 1}
	for want, change := range map[string]func(*tariff.FeeRow){
		"kind RFD has no fees of its own":           func(r *tariff.FeeRow) { r.Kind = tariff.KindRFD },
		"kind ? has no fees of its own":             func(r *tariff.FeeRow) { r.Kind = 0 },
		"institutions have 1 to 8 digits":           func(r *tariff.FeeRow) { r.Issuer = tariff.AccountFee },
		"MCC 10000: four digits":                    func(r *tariff.FeeRow) { r.MCC = 10000 },
		"programme 899: codes are from 900 to 998":  func(r *tariff.FeeRow) { r.Program = 899 },
		"at most 1000000":                           func(r *tariff.FeeRow) { r.VATPPM = tariff.Million + 1 },
		"each is 0 to 999999999999":                 func(r *tariff.FeeRow) { r.Fixed = -1 },
		"most 1000000000000: each is 0 to":          func(r *tariff.FeeRow) { r.Max = tariff.MaxFee + 1 },
		"the least fee 5 is more than the most, 4":  func(r *tariff.FeeRow) { r.Min, r.Max = 5, 4 },
		"a swap's fee is the spread of its rate":    func(r *tariff.FeeRow) { r.Kind, r.PPM = tariff.KindSWP, 1 },
		"share 1: it is of a role, or of a member":  share(tariff.Share{Weight: 1}),
		"share 2: it is of a role, or of a member":  share(half, tariff.Share{Member: 3, Role: tariff.RoleIssuer, Weight: 1}),
		"share 2: the same as share 1":              share(half, half),
		"share 1: only a swap has a target":         share(tariff.Share{Role: tariff.RoleTarget, Weight: 1}),
		"share 1: weight 0: 1 to 1000000":           share(tariff.Share{Role: tariff.RoleIssuer}),
		"7 shares: at most 6":                       share(half, half, half, half, half, half, half),
		"share 1: it is of a role, or of a member ": share(tariff.Share{Member: tariff.AccountVAT, Weight: 1}),
	} {
		rows := []tariff.FeeRow{{Kind: tariff.KindEAR}, {Kind: tariff.KindRDM, Issuer: 1}}
		change(&rows[1])
		_, err := tariff.NewFees().Next(dawn+10*minute, rows, "ann", "bob", dawn)
		require.ErrorContains(t, err, "fee schedule: row 2: ")
		require.ErrorContains(t, err, want)
	}
	_, err := tariff.NewFees().Next(dawn+10*minute, nil, "ann", "bob", dawn)
	require.ErrorContains(t, err, "0 rows, want 1 to 20000")
	_, err = tariff.NewFees().Next(dawn+4*minute, []tariff.FeeRow{{Kind: tariff.KindRDM}}, "ann", "bob", dawn)
	require.ErrorContains(t, err, "fee schedule: from 2026-03-02T00:04:00.000000Z is less than five minutes after")
}

// Schedules have versions, moments and a chain as rates have.
func TestScheduleVersions(t *testing.T) {
	rows := []tariff.FeeRow{{Kind: tariff.KindRDM, PPM: 10, Shares: []tariff.Share{{Role: tariff.RoleIssuer, Weight: 1}}}}
	fees := charge(t, rows...)
	rows[0].PPM, rows[0].Shares[0].Weight = 99, 99 // the caller's rows are the caller's
	require.Equal(t, uint32(10), fees.Version(1).Rows[0].PPM)
	require.Equal(t, uint32(1), fees.Version(1).Rows[0].Shares[0].Weight)

	clone, digest := fees.Clone(), fees.Digest(dawn+20*minute)
	for _, from := range []points.Timestamp{30, 20, 30} {
		schedule, err := fees.Next(dawn+from*minute, rows, "ann", "bob", dawn)
		require.NoError(t, err)
		changed := *schedule
		changed.From++
		require.ErrorContains(t, fees.Append(&changed), "it was changed, or one is missing")
		changed = *schedule
		changed.Rows = []tariff.FeeRow{{Kind: tariff.KindRDM, PPM: 11}}
		require.ErrorContains(t, fees.Append(&changed), "it was changed, or one is missing")
		require.Equal(t, fees.Version(schedule.Version-1).Digest, schedule.Previous)
		require.NoError(t, fees.Append(schedule))
		require.ErrorContains(t, fees.Append(schedule), "is not what follows version")
	}
	require.Nil(t, fees.At(dawn+10*minute-1))
	for at, version := range map[points.Timestamp]uint32{10 * minute: 1, 20*minute - 1: 1, 20 * minute: 3, 30*minute - 1: 3, 30 * minute: 4, 90 * minute: 4} {
		require.Equal(t, version, fees.At(dawn+at).Version, "%d", at)
	}
	require.Equal(t, digest, fees.Digest(dawn+20*minute))
	require.NotEqual(t, digest, fees.Digest(dawn+20*minute+1))
	require.Equal(t, 1, clone.Len())
	require.Equal(t, 4, fees.Len())
	require.Nil(t, fees.Version(5))
	n := uint32(0)
	for schedule := range fees.All() {
		n++
		require.Equal(t, n, schedule.Version)
	}
}
