package judge

import (
	"maps"
	"slices"
)

// collapse makes words below a node one class if they are values rather than
// names, and says whether it did.
func (t *Templates) collapse(s *segment, prefix string) bool {
	if len(s.Words) <= fewWords {
		return false
	}
	var rare int
	for _, word := range s.Words {
		if word.Seen <= rarely {
			rare++
		}
	}
	valued := s.Seen >= enoughVisits && 2*rare > len(s.Words)
	if !valued && len(s.Words) < mostWords {
		return false
	}
	alike := alike(s.Words)
	if 10*len(alike) < 8*len(s.Words) {
		return false
	}
	t.gather(s, prefix, alike)
	return true
}

// alike returns the words that could be values: those that are rare, and those with
// nothing after them that does not follow a fifth of the others as well.
func alike(words map[string]*segment) []string {
	followed := 0
	followers := map[string]int{}
	for _, word := range words {
		if len(word.Words)+len(word.Class) > 0 {
			followed++
		}
		for label := range word.labels {
			followers[label]++
		}
	}
	var same []string
	for name, word := range words {
		usual := true
		if word.Seen <= rarely {
			same = append(same, name)
			continue
		}
		for label := range word.labels {
			usual = usual && 5*followers[label] >= followed
		}
		if usual {
			same = append(same, name)
		}
	}
	slices.Sort(same)
	return same
}

// follows says whether nothing comes after a segment that does not come after another one.
func (s *segment) follows(another *segment) bool {
	for label := range s.labels {
		if another.Words[label] == nil && another.Class[label] == nil {
			return false
		}
	}
	return true
}

// labels goes through what follows a segment.
func (s *segment) labels(yield func(string) bool) {
	for label := range s.Words {
		if !yield(label) {
			return
		}
	}
	for label := range s.Class {
		if !yield(label) {
			return
		}
	}
}

// gather puts words below a node together into the class of any word.
func (t *Templates) gather(s *segment, prefix string, words []string) {
	into := s.Class[anyWord]
	if into == nil {
		into = &segment{}
		if s.Class == nil {
			s.Class = map[string]*segment{}
		}
		s.Class[anyWord] = into
		t.parts++
	}
	for _, word := range words {
		t.join(into, s.Words[word], prefix+anyWord)
		t.parts--
		delete(s.Words, word)
	}
	if len(s.Words) == 0 {
		s.Words = nil
	}
}

// join adds a node to another one, whose template is given. Endpoints that end
// below are renamed.
func (t *Templates) join(into, from *segment, template string) {
	into.Seen += from.Seen
	for method, name := range from.Ends {
		if into.Ends == nil {
			into.Ends = map[string]string{}
		}
		if into.Ends[method] == "" {
			into.Ends[method] = method + " " + template
		}
		t.rename(name, into.Ends[method])
	}
	for _, below := range []struct {
		into *map[string]*segment
		from map[string]*segment
	}{{&into.Words, from.Words}, {&into.Class, from.Class}} {
		for _, label := range slices.Sorted(maps.Keys(below.from)) {
			if *below.into == nil {
				*below.into = map[string]*segment{}
			}
			if (*below.into)[label] == nil {
				(*below.into)[label] = &segment{}
			} else {
				t.parts--
			}
			t.join((*below.into)[label], below.from[label], template+"/"+label)
		}
	}
}

func (t *Templates) rename(old, name string) {
	if old == name {
		return
	}
	delete(t.names, old)
	t.names[name] = true
	for earlier, become := range t.renamed {
		if become == old {
			t.renamed[earlier] = name
		}
	}
	t.renamed[old] = name
}
