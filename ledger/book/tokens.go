package book

import "github.com/lianfen/lianfen/points"

// EachCard calls visit with the place of every card's token in c, those of a group's
// members and of an upload's items too; what visit writes there is the command's from
// then on. Nothing else in a record stands for a card: outcomes name members.
func (c *Command) EachCard(visit func(*points.CardToken)) {
	for _, token := range [...]*points.CardToken{&c.Card, &c.ToCard} {
		if !token.IsZero() {
			visit(token)
		}
	}
	if c.Entry.Card != nil && !c.Entry.Card.Token.IsZero() {
		visit(&c.Entry.Card.Token)
	}
	for i := range c.Items {
		if !c.Items[i].Card.IsZero() {
			visit(&c.Items[i].Card)
		}
	}
	for i := range c.Group {
		c.Group[i].EachCard(visit)
	}
}

// EachSecret calls visit with the name of each operator whose sealed secret is in c, and
// the place of that secret; what visit writes there is the command's from then on.
func (c *Command) EachSecret(visit func(operator string, sealed *string)) {
	if o := c.Entry.Operator; o != nil && o.Secret != "" {
		visit(o.Name, &o.Secret)
	}
	for i := range c.Group {
		c.Group[i].EachSecret(visit)
	}
}
