package loop

const defaultDriver = Epoll

var drivers = map[Driver]mechanism{
	Epoll: {poller: newEpoll, listen: listenSockets, adopt: adoptSockets},
	Go:    {poller: newSleeper, listen: listenNet, adopt: adoptNet},
}
