package sim

import (
	"bytes"
	"embed"
	"fmt"
	"io"
)

//go:embed day/*.yaml
var day embed.FS

// Scenes of the demonstration's business day.
const (
	dayDirectory = "directory"
	SceneDay     = "day"      // terminals without keys
	SceneKeyed   = "keyed"    // terminals with keys, up to a locked PIN
	SceneOpened  = "unlocked" // after an operator has unlocked it
	SceneCapped  = "capped"   // under a rule on risk
)

// DayDirectory is the participants of the demonstration, as the admin door reads them.
func DayDirectory() io.Reader { return scene(dayDirectory) }

// DayScript is the business day of the demonstration.
func DayScript() io.Reader { return scene(SceneDay) }

// Scene is a part of the demonstration, a script.
func Scene(name string) (*Script, error) {
	script, err := ReadScript(scene(name))
	if err != nil {
		return nil, fmt.Errorf("scene %s: %w", name, err)
	}
	return script, nil
}

// scene is empty for a name that there is not, which [ReadScript] refuses.
func scene(name string) io.Reader {
	text, _ := day.ReadFile("day/" + name + ".yaml")
	return bytes.NewReader(text)
}
