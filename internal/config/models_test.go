package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Rules choose a model by kind and classes, the one that names most first; where they leave
// a case open or decide one in two ways the file is refused, and the case is named. Without
// rules one model is for all.
func TestModelRules(t *testing.T) {
	c, err := config.Load(write(t, "settlement:\n  models: \"RDM 1 2 BNET, EAR * operator GROSS, * * * MNET\"\n  classes: \"10000002 2\"\n"), nil, nil)
	require.NoError(t, err)
	require.Equal(t, []netting.Class{1, 2}, []netting.Class{c.Night.Classes.Of(10_000_001), c.Night.Classes.Of(10_000_002)})
	models, err := c.Night.Compiled()
	require.NoError(t, err)
	for _, is := range []struct {
		kind       tariff.Kind
		one, other netting.Class
		model      netting.Model
	}{
		{tariff.KindRDM, 1, 2, netting.BNET},
		{tariff.KindRDM, 2, 1, netting.BNET},
		{tariff.KindRDM, 1, 1, netting.MNET},
		{tariff.KindEAR, 2, netting.Operator, netting.GROSS},
		{tariff.KindEAR, 1, 2, netting.MNET},
	} {
		require.Equal(t, is.model, models.Of(is.kind, is.one, is.other), "%+v", is)
	}
	c, err = config.Load(write(t, "settlement:\n  model: GROSS\n"), nil, nil)
	require.NoError(t, err)
	models, err = c.Night.Compiled()
	require.NoError(t, err)
	require.Equal(t, netting.GROSS, models.Of(tariff.KindSWP, 1, 1))

	for text, want := range map[string]string{
		"models: RDM * * MNET":                                "no rule for EAR between classes operator and operator",
		"models: \"* * * MNET, RDM 1 * BNET, RDM * 1 GROSS\"": "both decide RDM between classes",
		"models: \"* * * MNET, RDM 2 1 BNET\"":                "classes of 0 (operator) to 1",
		"models: \"* * * CASH\"":                              "rules of kind, two classes and model",
		"models: \"* * MNET\"":                                "rules of kind, two classes and model",
		"models: \"* 0 * MNET\"":                              "rules of kind, two classes and model",
		"models: \"XXX * * MNET\"":                            "rules of kind, two classes and model",
		"classes: \"10000002 2, 10000002 3\"":                 "each member once",
		"classes: 10000002 16":                                "members with a class of 1 to 15",
		"classes: 10000002 operator":                          "members with a class of 1 to 15",
		"classes: 100000002 2":                                "members with a class of 1 to 15",
	} {
		_, err := config.Load(write(t, "settlement:\n  "+text+"\n"), nil, nil)
		require.ErrorContains(t, err, want, text)
	}
}
