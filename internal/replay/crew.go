package replay

import (
	"sync"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// job is one request on its way to the target.
type job struct {
	exchange *traffic.Exchange
	session  sessionID
	due      time.Time // when it should be sent
	begun    time.Time // when a courier took it
	size     int64
	tokens   bool // it carries some in place of secrets
	held     bool // an earlier one of its session was not answered yet when it was due
	crowded  bool // everybody was busy when it was its session's turn
}

// crew sends jobs: those of a session one after the other, the sessions side by
// side, by a bounded number of couriers. It may be used by many goroutines.
type crew struct {
	send  func(*job)
	most  int   // couriers
	queue int   // jobs that may wait
	bytes int64 // that waiting jobs may hold

	mu       sync.Mutex
	work     sync.Cond              // a session is ready, or it is over
	room     sync.Cond              // a job has left the queue, or it is over
	quiet    sync.Cond              // no job waits or is being sent
	sessions map[sessionID]*session // those with a job that waits or is being sent
	ready    []*session             // those whose first job waits for nothing but a courier, in order
	couriers int                    // all of them
	idle     int                    // couriers that wait for work
	waiting  int                    // jobs
	held     int64                  // bytes of waiting jobs
	sending  int                    // jobs
	closed   bool
}

// session is a queue of jobs, of which at most one is being sent.
type session struct {
	id   sessionID
	jobs []*job // that wait
}

func newCrew(most, queue int, bytes int64, send func(*job)) *crew {
	c := &crew{send: send, most: most, queue: queue, bytes: bytes, sessions: map[sessionID]*session{}}
	c.work.L, c.room.L, c.quiet.L = &c.mu, &c.mu, &c.mu
	return c
}

// offer takes a job, or returns false at once if too much waits already.
func (c *crew) offer(j *job) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.hasRoom(j) {
		return false
	}
	c.take(j)
	return true
}

// put takes a job when there is room for it. It returns false if the crew was
// stopped before.
func (c *crew) put(j *job) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && !c.hasRoom(j) {
		c.room.Wait()
	}
	if c.closed {
		return false
	}
	c.take(j)
	return true
}

// hasRoom says whether a job may wait. One of any size may if no other does.
func (c *crew) hasRoom(j *job) bool {
	return c.waiting == 0 || c.waiting < c.queue && c.held+j.size <= c.bytes
}

func (c *crew) take(j *job) {
	c.waiting++
	c.held += j.size
	if s := c.sessions[j.session]; s != nil {
		j.held = true
		s.jobs = append(s.jobs, j)
		return
	}
	s := &session{id: j.session, jobs: []*job{j}}
	if j.session != alone {
		c.sessions[j.session] = s
	}
	c.ready = append(c.ready, s)
	switch {
	case len(c.ready) <= c.idle:
		c.work.Signal()
	case c.couriers < c.most:
		c.couriers++
		go c.run()
	default:
		j.crowded = true
	}
}

// run is a courier: it sends one job after another until the crew is stopped.
func (c *crew) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		for len(c.ready) == 0 && !c.closed {
			c.idle++
			c.work.Wait()
			c.idle--
		}
		if len(c.ready) == 0 {
			c.couriers--
			return
		}
		s := c.ready[0]
		c.ready[0] = nil
		c.ready = c.ready[1:]
		c.sendFirst(s)
	}
}

// sendFirst sends the first job of a session, without the lock.
func (c *crew) sendFirst(s *session) {
	j := s.jobs[0]
	s.jobs[0] = nil
	s.jobs = s.jobs[1:]
	c.waiting--
	c.held -= j.size
	c.sending++
	c.room.Signal()
	c.mu.Unlock()
	c.send(j)
	c.mu.Lock()
	c.sending--
	if len(s.jobs) > 0 {
		s.jobs[0].crowded = len(c.ready) > c.idle // this courier takes the first of those
		c.ready = append(c.ready, s)
	} else if s.id != alone {
		delete(c.sessions, s.id)
	}
	if c.waiting == 0 && c.sending == 0 {
		c.quiet.Broadcast()
	}
}

// stop takes no more jobs, and gives back those that wait. Those that are being
// sent are left to finish.
func (c *crew) stop() []*job {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.room.Broadcast()
	c.work.Broadcast()
	var left []*job
	for _, s := range c.ready {
		if s.id == alone {
			left = append(left, s.jobs...)
		}
	}
	for id, s := range c.sessions {
		left = append(left, s.jobs...)
		s.jobs = nil
		delete(c.sessions, id)
	}
	c.ready = nil
	c.waiting, c.held = 0, 0
	if c.sending == 0 {
		c.quiet.Broadcast()
	}
	return left
}

// wait returns when all jobs have been sent and answered.
func (c *crew) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.waiting > 0 || c.sending > 0 {
		c.quiet.Wait()
	}
}

// load is how many jobs wait, and how many are being sent.
func (c *crew) load() (waiting, sending int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting, c.sending
}
