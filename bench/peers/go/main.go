// Goroutines, measured as the other peers are: see ../../README.md for what the rows mean.
//
// Usage: main ROW PARAM=VALUE,.. MILLISECONDS
package main

import (
	"fmt"
	"math/rand"
	"net"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	params   = map[string]int{}
	duration time.Duration
	start    = time.Now()
)

func main() {
	for _, param := range strings.Split(os.Args[2], ",") {
		name, value, _ := strings.Cut(param, "=")
		params[name], _ = strconv.Atoi(value)
	}
	millis, _ := strconv.Atoi(os.Args[3])
	duration = time.Duration(millis) * time.Millisecond
	runtime.GOMAXPROCS(params["w"])

	switch row := os.Args[1]; row {
	case "yield":
		say("yield", yields(params["t"]))
	case "spawn_seq":
		say("spawn_seq", spawnSeq())
	case "spawn_batch":
		say("spawn_batch", spawnBatch(params["n"]))
	case "timers":
		timers("timers.cold", params["n"])
		timers("timers.warm", params["n"])
	case "idle":
		idle(params["n"])
	case "pingpong":
		say("pingpong", pingpong())
	case "mpsc":
		say("mpsc", messages(params["cap"]))
	case "mutex":
		say("mutex", mutex(params["t"]))
	case "pread4k":
		say("pread4k", pread4k())
	case "echo", "conns":
		fail(serve())
	default:
		fail(fmt.Errorf("%s is not measured here", row))
	}
}

func say(metric string, value float64) {
	fmt.Println(metric, value)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

const (
	warmUp = iota
	measure
	stop
)

// Nanoseconds per yield. Goroutine 0 leads: it tells the others when to count and when to stop.
func yields(tasks int) float64 {
	var phase, arrived atomic.Int32
	var counted atomic.Int64
	var took time.Duration
	var all sync.WaitGroup
	all.Add(tasks)
	for i := 1; i < tasks; i++ {
		go func() {
			defer all.Done()
			arrived.Add(1)
			var count int64
			for {
				switch phase.Load() {
				case measure:
					count++
				case stop:
					counted.Add(count)
					return
				}
				runtime.Gosched()
			}
		}()
	}
	go func() {
		defer all.Done()
		stride := 4096 / tasks
		if stride == 0 {
			stride = 1
		}
		pass := func(until func(time.Duration) bool) (int64, time.Duration) {
			var count int64
			since := now()
			for {
				for i := 0; i < stride; i++ {
					runtime.Gosched()
				}
				count += int64(stride)
				if time := now() - since; until(time) {
					return count, time
				}
			}
		}
		pass(func(time time.Duration) bool {
			return int(arrived.Load()) == tasks-1 && time >= duration/4
		})
		phase.Store(measure)
		count, time := pass(func(time time.Duration) bool { return time >= duration })
		phase.Store(stop)
		counted.Add(count)
		took = time
	}()
	all.Wait()
	return float64(took.Nanoseconds()) / float64(counted.Load())
}

// Nanoseconds to spawn an empty goroutine and to join it.
func spawnSeq() float64 {
	const batch = 256
	done := make(chan struct{}, 1)
	pass := func(limit time.Duration) float64 {
		since := now()
		for count := 0; ; count += batch {
			if time := now() - since; time >= limit {
				return float64(time.Nanoseconds()) / float64(count)
			}
			for i := 0; i < batch; i++ {
				go func() { done <- struct{}{} }()
				<-done
			}
		}
	}
	pass(duration / 4)
	return pass(duration)
}

// Nanoseconds to spawn and join one of many empty goroutines, in the median round.
func spawnBatch(tasks int) float64 {
	round := func() time.Duration {
		since := now()
		var all sync.WaitGroup
		all.Add(tasks)
		for i := 0; i < tasks; i++ {
			go all.Done()
		}
		all.Wait()
		return now() - since
	}
	round()
	var rounds []float64
	for spent := time.Duration(0); len(rounds) < 3 || spent < duration; {
		time := round()
		spent += time
		rounds = append(rounds, float64(time.Nanoseconds())/float64(tasks))
	}
	sort.Float64s(rounds)
	return rounds[len(rounds)/2]
}

func timers(name string, tasks int) {
	random := rand.New(rand.NewSource(1))
	planned := make([]time.Duration, tasks)
	for i := range planned {
		planned[i] = time.Duration(1_000+random.Intn(999_001)) * time.Microsecond
	}
	late := make([]float64, tasks)
	before := cpuTime()
	var all sync.WaitGroup
	all.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func(i int) {
			defer all.Done()
			since := time.Now()
			time.Sleep(planned[i])
			late[i] = float64(time.Since(since) - planned[i])
		}(i)
	}
	all.Wait()
	say(name+".cpu", float64(cpuTime()-before)/1e6)
	sort.Float64s(late)
	say(name+".late_p50", late[tasks/2]/1e3)
	say(name+".late_p99", late[tasks*99/100]/1e3)
}

// What a row's time is: processor time, or with more than one worker the wall's.
func now() time.Duration {
	if params["w"] == 1 {
		return cpuTime()
	}
	return time.Since(start)
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func idle(tasks int) {
	end := make(chan struct{})
	var arrived atomic.Int32
	var took time.Duration
	runtime.GC()
	before := resident()
	since := now()
	for i := 0; i < tasks; i++ {
		go func() {
			if int(arrived.Add(1)) == tasks {
				took = now() - since
			}
			<-end
		}()
	}
	for int(arrived.Load()) < tasks {
		runtime.Gosched()
	}
	say("idle.bytes", (resident()-before)/float64(tasks))
	say("idle.start", float64(took.Nanoseconds())/float64(tasks))
}

// The bytes that this process has in memory, page tables included.
func resident() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail(err)
	}
	total := 0
	for _, line := range strings.Split(string(status), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 1 && (fields[0] == "VmRSS:" || fields[0] == "VmPTE:") {
			kib, _ := strconv.Atoi(fields[1])
			total += kib
		}
	}
	return 1024 * float64(total)
}

// Nanoseconds of a round trip over two channels.
func pingpong() float64 {
	ping, pong := make(chan int, 1), make(chan int, 1)
	go func() {
		for ball := range ping {
			pong <- ball
		}
	}()
	defer close(ping)
	return loop(func() {
		ping <- 1
		<-pong
	})
}

// Nanoseconds per message through a channel.
func messages(capacity int) float64 {
	channel := make(chan int, capacity)
	go func() {
		for {
			channel <- 1
		}
	}()
	return loop(func() { <-channel })
}

// Nanoseconds per operation, after a warm-up.
func loop(operation func()) float64 {
	const batch = 1024
	pass := func(limit time.Duration) float64 {
		since := now()
		for count := 0; ; count += batch {
			if time := now() - since; time >= limit {
				return float64(time.Nanoseconds()) / float64(count)
			}
			for i := 0; i < batch; i++ {
				operation()
			}
		}
	}
	pass(duration / 4)
	return pass(duration)
}

// Nanoseconds to lock, add and unlock, in the median round.
func mutex(tasks int) float64 {
	const locks = 50_000
	var number int
	var mutex sync.Mutex
	round := func() time.Duration {
		since := now()
		var all sync.WaitGroup
		all.Add(tasks)
		for i := 0; i < tasks; i++ {
			go func() {
				defer all.Done()
				for i := 0; i < locks; i++ {
					mutex.Lock()
					number++
					mutex.Unlock()
				}
			}()
		}
		all.Wait()
		return now() - since
	}
	round()
	var rounds []float64
	for spent := time.Duration(0); len(rounds) < 3 || spent < duration; {
		time := round()
		spent += time
		rounds = append(rounds, float64(time.Nanoseconds())/float64(tasks*locks))
	}
	sort.Float64s(rounds)
	return rounds[len(rounds)/2]
}

// Nanoseconds to read 4 KiB at a random offset of a file that is in the page cache.
func pread4k() float64 {
	const page, pages = 4096, 16 << 10
	file, err := os.CreateTemp("", "bench-pages")
	if err != nil {
		fail(err)
	}
	os.Remove(file.Name())
	buffer := make([]byte, page)
	for i := 0; i < pages; i++ {
		if _, err := file.Write(buffer); err != nil {
			fail(err)
		}
	}
	random := rand.New(rand.NewSource(1))
	return loop(func() {
		if _, err := file.ReadAt(buffer, int64(random.Intn(pages))*page); err != nil {
			fail(err)
		}
	})
}

func serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go echo(connection)
	}
}

func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, 1024)
	for {
		n, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:n]); err != nil {
			return
		}
	}
}
