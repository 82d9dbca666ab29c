package analyze

func (p *Pipeline) save() {}
