package graphql

import (
	"fmt"
	"regexp"
	"time"
	_ "time/tzdata" // where we run need not have them
)

// intervalFormats are the calendar's parts as Postgres' to_char writes them.
var intervalFormats = map[string]string{
	"HOUR":    `YYYY-MM-DD"T"HH24:00`,
	"DAY":     `YYYY-MM-DD`,
	"WEEK":    `IYYY-"W"IW`,
	"MONTH":   `YYYY-MM`,
	"QUARTER": `YYYY-"Q"Q`,
	"YEAR":    `YYYY`,
}

// intervalSQL is the part of the calendar that a moment is in, as text that
// sorts by time. It is what clocks and calendars of the zone show, so the hour
// that they show twice in autumn is one.
func (c *compiler) intervalSQL(moment string, interval, zone input) string {
	name, _ := interval.now.(string)
	format, ok := intervalFormats[name]
	if !ok {
		c.failInput(interval, fmt.Errorf("%s is no value of DateInterval", show(interval.now)))
		return "null::text"
	}
	in := "'UTC'"
	if !zone.null() {
		in = c.param(zone, "zone", "text", zoneOperand)
	}
	return fmt.Sprintf(`to_char((%s) at time zone %s, %s) collate "C"`, moment, in, literalSQL(format))
}

// zoneNames keeps out what is no name to Postgres: to it `+02:00` is to the west,
// and `Local` is where Go runs.
var zoneNames = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+/-]{1,50}$`)

func zoneOperand(v any) (any, error) {
	s, ok := v.(string)
	if !ok || !zoneNames.MatchString(s) || s == "Local" {
		return nil, fmt.Errorf("%s is no time zone: give a name such as Europe/Berlin", show(v))
	}
	if _, err := time.LoadLocation(s); err != nil {
		return nil, fmt.Errorf("%s is no time zone that is known: give a name such as Europe/Berlin", show(v))
	}
	return s, nil
}
