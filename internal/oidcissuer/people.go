package oidcissuer

import (
	"slices"
	"sync"
)

// person is an account as the company sees it at the moment.
type person struct {
	Account
	active bool
}

// people is who works here now; it begins with everybody in their groups.
type people struct {
	mu   sync.Mutex
	list []person
}

func newPeople() *people {
	p := &people{}
	for _, account := range Accounts() {
		p.list = append(p.list, person{Account: account, active: true})
	}
	return p
}

// all are the people, machines left out.
func (p *people) all() []person {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.list), func(one person) bool { return one.Machine })
}

// get is an account as it is now.
func (p *people) get(id string) (person, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := p.index(id); i >= 0 {
		return p.list[i], true
	}
	return person{}, false
}

// amend changes a person by way of change, all or nothing. A change of nobody, or
// of a machine, is not made: found is then false.
func (p *people) amend(id string, change func(*person) error) (changed person, found bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.index(id)
	if i < 0 || p.list[i].Machine {
		return person{}, false, nil
	}
	changed = p.list[i]
	changed.Groups = slices.Clone(changed.Groups)
	if err := change(&changed); err != nil {
		return person{}, true, err
	}
	p.list[i] = changed
	return changed, true, nil
}

func (p *people) index(id string) int {
	return slices.IndexFunc(p.list, func(one person) bool { return one.ID == id })
}
