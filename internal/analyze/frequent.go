package analyze

import "encoding/json"

// frequent counts the most frequent of many texts in bounded memory: Space-Saving
// (Metwally, Agrawal, El Abbadi: ICDT 2005). A count is too high by at most its
// excess, which is how often the text may never have been there.
type frequent struct {
	places map[string]int // in heap
	heap   []tally        // the rarest first, at most mostTraits
}

// tally is a text and how often it was seen, at most.
type tally struct {
	Text   string `json:"t"`
	Count  int64  `json:"n"`
	Excess int64  `json:"e,omitempty"`
}

func newFrequent() *frequent { return &frequent{places: make(map[string]int)} }

// add counts a text.
func (f *frequent) add(text string) {
	if i, ok := f.places[text]; ok {
		f.heap[i].Count++
		f.down(i)
		return
	}
	if len(f.heap) < mostTraits {
		f.heap = append(f.heap, tally{Text: text, Count: 1})
		f.places[text] = len(f.heap) - 1
		f.up(len(f.heap) - 1)
		return
	}
	least := &f.heap[0]
	delete(f.places, least.Text)
	*least = tally{Text: text, Count: least.Count + 1, Excess: least.Count}
	f.places[text] = 0
	f.down(0)
}

// sure is how often a text was seen at least.
func (f *frequent) sure(text string) int64 {
	i, ok := f.places[text]
	if !ok {
		return 0
	}
	return f.heap[i].Count - f.heap[i].Excess
}

// atMost is how often a text can have been seen.
func (f *frequent) atMost(text string) int64 {
	if i, ok := f.places[text]; ok {
		return f.heap[i].Count
	}
	if len(f.heap) < mostTraits {
		return 0
	}
	return f.heap[0].Count
}

func (f *frequent) up(i int) {
	for i > 0 {
		above := (i - 1) / 2
		if f.heap[above].Count <= f.heap[i].Count {
			return
		}
		f.swap(i, above)
		i = above
	}
}

func (f *frequent) down(i int) {
	for {
		least := i
		for _, below := range [2]int{2*i + 1, 2*i + 2} {
			if below < len(f.heap) && f.heap[below].Count < f.heap[least].Count {
				least = below
			}
		}
		if least == i {
			return
		}
		f.swap(i, least)
		i = least
	}
}

func (f *frequent) swap(i, j int) {
	f.heap[i], f.heap[j] = f.heap[j], f.heap[i]
	f.places[f.heap[i].Text], f.places[f.heap[j].Text] = i, j
}

// MarshalJSON implements json.Marshaler.
func (f *frequent) MarshalJSON() ([]byte, error) { return json.Marshal(f.heap) }

// UnmarshalJSON implements json.Unmarshaler.
func (f *frequent) UnmarshalJSON(data []byte) error {
	var all []tally
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	*f = *newFrequent()
	for _, t := range all {
		if len(f.heap) == mostTraits {
			break
		}
		f.heap = append(f.heap, t)
		f.places[t.Text] = len(f.heap) - 1
		f.up(len(f.heap) - 1)
	}
	return nil
}
