package main

import (
	"bytes"
	"fmt"
	"time"
)

// kitchen is kitchen.yaml.
type kitchen struct {
	Cooks       map[string]cook     `yaml:"cooks"`
	Follows     map[string][]string `yaml:"follows"`
	Recipes     []recipe            `yaml:"recipes"`
	Reviews     []review            `yaml:"reviews"`
	Likes       map[string][]string `yaml:"likes"`
	Collections []collection        `yaml:"collections"`
	Statuses    []status            `yaml:"statuses"`
	Posts       []post              `yaml:"posts"`
	Changes     []change            `yaml:"changes"`
}

type cook struct {
	Handle string `yaml:"handle"`
	Name   string `yaml:"name"`
	Bio    string `yaml:"bio"`
	Joined at     `yaml:"joined"`
}

type recipe struct {
	ID          string   `yaml:"id"`
	By          string   `yaml:"by"`
	At          at       `yaml:"at"`
	Title       string   `yaml:"title"`
	Description string   `yaml:"description"`
	BasedOn     string   `yaml:"basedOn"`
	Cuisine     string   `yaml:"cuisine"`
	Difficulty  string   `yaml:"difficulty"`
	Servings    int      `yaml:"servings"`
	PrepMinutes int      `yaml:"prepMinutes"`
	CookMinutes int      `yaml:"cookMinutes"`
	Tags        []string `yaml:"tags"`
	Ingredients []string `yaml:"ingredients"`
	Steps       []string `yaml:"steps"`
}

type review struct {
	Of     string   `yaml:"of"`
	By     string   `yaml:"by"`
	At     at       `yaml:"at"`
	Rating int      `yaml:"rating"`
	Text   string   `yaml:"text"`
	Tags   []string `yaml:"tags"`
}

type collection struct {
	ID          string   `yaml:"id"`
	By          string   `yaml:"by"`
	At          at       `yaml:"at"`
	Name        string   `yaml:"name"`
	Description string   `yaml:"description"`
	Items       []string `yaml:"items"`
}

type status struct {
	By     string `yaml:"by"`
	At     at     `yaml:"at"`
	Status string `yaml:"status"`
}

type post struct {
	ID      string   `yaml:"id"`
	By      string   `yaml:"by"`
	At      at       `yaml:"at"`
	Text    string   `yaml:"text"`
	Mention string   `yaml:"mention"`
	Reply   string   `yaml:"reply"`
	Likes   []string `yaml:"likes"`
}

// change is one of four: an edit, a deletion, a like taken back, a new handle.
type change struct {
	By     string         `yaml:"by"`
	At     at             `yaml:"at"`
	Edit   string         `yaml:"edit"`
	Set    map[string]any `yaml:"set"`
	Delete string         `yaml:"delete"`
	Unlike string         `yaml:"unlike"`
	Rename string         `yaml:"rename"`
	Handle string         `yaml:"handle"`
}

// at is a time to the minute, in UTC.
type at struct{ time.Time }

func (a *at) UnmarshalYAML(text []byte) error {
	t, err := time.Parse("2006-01-02 15:04", string(bytes.TrimSpace(text)))
	if err != nil {
		return fmt.Errorf("time %q: want 2026-03-01 08:10", text)
	}
	a.Time = t
	return nil
}
