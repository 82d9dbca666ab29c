package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/understudy-proxy/understudy/internal/analyze"
)

// printPair prints a request and both of its answers, side by side.
func printPair(s *Streams, pair *analyze.Pair, output outputFormat) error {
	if output == outputJSON {
		return printJSON(s.Out, pair)
	}
	p := &paper{columns: terminalWidth(s), color: s.Color}
	p.pair(pair)
	_, err := io.WriteString(s.Out, p.String())
	return err
}

func (p *paper) pair(pair *analyze.Pair) {
	p.line(paint(printable(pair.ID), faint, p.color) + "  " + fmt.Sprintf("cluster %s, class %s, %s", printable(pair.Cluster), pair.Class, momentText(pair.Time)))
	p.line("")
	p.messages(pair)
	p.differences(pair.Differences, true)
}

// messages writes a request, and its answers side by side.
func (p *paper) messages(pair *analyze.Pair) {
	request := append(headLines(pair.Request.Head), bodyLines(&pair.Request, nil)...)
	if len(request) > 0 && request[len(request)-1] == "" {
		request = request[:len(request)-1]
	}
	for _, line := range request {
		p.line(strings.TrimRight("  "+cut(printable(line), p.columns-2), " "))
	}
	p.line("")
	primary, shadow := answerLines(&pair.Primary, nil), answerLines(&pair.Shadow, &pair.Primary)
	column := (p.columns - len("  ") - len(" | ")) / 2
	p.row("  ", "PRIMARY  "+outcomeText(&pair.Primary), "SHADOW  "+outcomeText(&pair.Shadow), column, bold)
	p.rows(align(primary, shadow), column)
}

// equalStretch is how many equal lines are shown around those that differ.
const equalStretch = 3

// rows writes aligned lines; of equal ones only those around a difference.
func (p *paper) rows(list []aligned, column int) {
	hidden := 0
	flush := func() {
		if hidden > 0 {
			p.line(paint("  … "+plural(hidden, "equal line"), faint, p.color))
		}
		hidden = 0
	}
	for i, a := range list {
		if a.mark == ' ' && !differsNear(list, i) {
			hidden++
			continue
		}
		flush()
		left, right := windows(printable(a.primary), printable(a.shadow), column)
		look := plain
		if a.mark != ' ' {
			look = warn
		}
		p.row(string(a.mark)+" ", left, right, column, look)
	}
	flush()
}

func differsNear(list []aligned, i int) bool {
	for j := max(i-equalStretch, 0); j <= min(i+equalStretch, len(list)-1); j++ {
		if list[j].mark != ' ' {
			return true
		}
	}
	return false
}

func (p *paper) row(mark, left, right string, column int, look style) {
	left, right = cut(left, column), cut(right, column)
	pad := strings.Repeat(" ", column-textWidth(left))
	p.line(strings.TrimRight(mark+paint(left, look, p.color)+pad+" | "+paint(right, look, p.color), " "))
}

// windows cuts two lines to a column each. Where they differ only further to the
// right, both begin shortly before that.
func windows(left, right string, column int) (l, r string) {
	if left == right || textWidth(left) <= column && textWidth(right) <= column {
		return left, right
	}
	a, b := []rune(left), []rune(right)
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	from := same - column/3
	if same < column*2/3 || from <= 0 {
		return left, right
	}
	from = min(from, max(len(a), len(b))-column/2)
	shift := func(s []rune) string {
		if from >= len(s) {
			return "…"
		}
		return "…" + string(s[from:])
	}
	return shift(a), shift(b)
}

// outcomeText is how an answer came out, in a few words.
func outcomeText(m *analyze.Message) string {
	if m.Failure != "" {
		return printable(m.Failure)
	}
	text := printable(firstLine(m.Head))
	if _, status, ok := strings.Cut(text, " "); ok {
		text = status
	}
	if m.Millis > 0 {
		text += ", " + durationText(m.Millis)
	}
	return text
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimRight(line, "\r")
}

// answerLines are the lines of an answer. Where both bodies are JSON, the members of
// objects are in the order of the other one, and a comma follows each of them.
func answerLines(m, other *analyze.Message) []string {
	if m.Failure != "" && m.Head == "" {
		return []string{m.Failure}
	}
	body := bodyLines(m, other)
	if parseTree(m) != nil {
		lastCommas(body)
	}
	return append(headLines(m.Head), body...)
}

// lastCommas has a comma follow the last member of everything, too: else a member
// that is last on one side only would be another line than the same one elsewhere.
func lastCommas(body []string) {
	for i, line := range body[:len(body)-1] {
		if !strings.HasSuffix(line, ",") && !strings.HasSuffix(line, "{") && !strings.HasSuffix(line, "[") {
			body[i] += ","
		}
	}
}

func headLines(head string) []string {
	return append(strings.Split(strings.TrimRight(strings.ReplaceAll(head, "\r\n", "\n"), "\n"), "\n"), "")
}

// mostBinary is how much is shown of a body that is no text.
const mostBinary = 256

// bodyLines are the lines of a body as a person reads them.
func bodyLines(m, other *analyze.Message) []string {
	var lines []string
	switch tree := parseTree(m); {
	case m.Body == "":
	case m.Base64:
		data, err := base64.StdEncoding.DecodeString(m.Body)
		if err != nil {
			data = []byte(m.Body)
		}
		lines = dumpLines(data[:min(len(data), mostBinary)])
		if len(data) > mostBinary {
			lines = append(lines, fmt.Sprintf("… %d bytes more", len(data)-mostBinary))
		}
	case tree != nil:
		if other != nil {
			tree.orderAs(parseTree(other))
		}
		lines = tree.lines()
	default:
		lines = strings.Split(strings.TrimRight(m.Body, "\n"), "\n")
	}
	if m.Cut {
		lines = append(lines, fmt.Sprintf("… cut off; the whole body has %s", plural(int(m.Length), "byte")))
	}
	return lines
}

// dumpLines shows bytes so that two of them stand side by side: eight in a line, and
// what they are as ASCII.
func dumpLines(data []byte) []string {
	const perLine = 8
	var lines []string
	for at := 0; at < len(data); at += perLine {
		row := data[at:min(at+perLine, len(data))]
		text := []byte(string(row))
		for i, c := range text {
			if c < ' ' || c > '~' {
				text[i] = '.'
			}
		}
		lines = append(lines, fmt.Sprintf("%08x  %-*s  %s", at, 3*perLine-1, fmt.Sprintf("% x", row), text))
	}
	return lines
}

// tree is a JSON value whose members keep their order, and whose scalars keep
// their spelling.
type tree struct {
	kind    json.Delim // '{', '[', or 0 for a scalar
	scalar  string
	keys    []string // of an object, by member
	members []*tree
}

// parseTree reads a body that is one JSON object or array; nil if it is not.
func parseTree(m *analyze.Message) *tree {
	if m.Base64 || m.Cut {
		return nil
	}
	text := strings.TrimSpace(m.Body)
	if text == "" || text[0] != '{' && text[0] != '[' || !json.Valid([]byte(text)) {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	t, err := readTree(d)
	if err != nil {
		return nil
	}
	return t
}

// readTree reads a value. Valid bounds how deep it is, as encoding/json does.
func readTree(d *json.Decoder) (*tree, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	kind, ok := token.(json.Delim)
	if !ok {
		return &tree{scalar: scalarText(token)}, nil
	}
	t := &tree{kind: kind}
	for d.More() {
		if kind == '{' {
			key, err := d.Token()
			if err != nil {
				return nil, err
			}
			t.keys = append(t.keys, key.(string))
		}
		member, err := readTree(d)
		if err != nil {
			return nil, err
		}
		t.members = append(t.members, member)
	}
	_, err = d.Token()
	return t, err
}

func scalarText(token json.Token) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(token) != nil { // what was decoded can be encoded
		return fmt.Sprint(token)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// orderAs puts the members of objects into the order of those of model, and the
// others behind them.
func (t *tree) orderAs(model *tree) {
	if model == nil || t.kind != model.kind {
		return
	}
	if t.kind == '[' {
		for i := range min(len(t.members), len(model.members)) {
			t.members[i].orderAs(model.members[i])
		}
		return
	}
	place := make(map[string]int, len(model.keys))
	for i, key := range model.keys {
		place[key] = i
	}
	var keys, restKeys []string
	var members, rest []*tree
	index := make(map[string]int, len(t.keys))
	for i, key := range t.keys {
		_, again := index[key] // JSON allows it
		if at, ok := place[key]; ok && !again {
			t.members[i].orderAs(model.members[at])
			index[key] = i
		} else {
			restKeys, rest = append(restKeys, key), append(rest, t.members[i])
		}
	}
	for _, key := range model.keys {
		if i, ok := index[key]; ok {
			keys, members = append(keys, key), append(members, t.members[i])
			delete(index, key)
		}
	}
	t.keys, t.members = append(keys, restKeys...), append(members, rest...)
}

// lines is the value as indented JSON.
func (t *tree) lines() []string {
	var lines []string
	t.write(&lines, "", "", "")
	return lines
}

func (t *tree) write(lines *[]string, indent, before, after string) {
	closing := map[json.Delim]string{'{': "}", '[': "]"}[t.kind]
	switch {
	case t.kind == 0:
		*lines = append(*lines, indent+before+t.scalar+after)
		return
	case len(t.members) == 0:
		*lines = append(*lines, indent+before+t.kind.String()+closing+after)
		return
	}
	*lines = append(*lines, indent+before+t.kind.String())
	for i, member := range t.members {
		name, comma := "", ","
		if t.kind == '{' {
			name = scalarText(t.keys[i]) + ": "
		}
		if i == len(t.members)-1 {
			comma = ""
		}
		member.write(lines, indent+"  ", name, comma)
	}
	*lines = append(*lines, indent+closing+after)
}
