// What do the same things cost in Go? A goroutine stands for a task, a plain call for an await.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// stopwatch measures processor time of the whole process, the garbage collector's included, and
// heap allocations.
type stopwatch struct {
	began, nanos, mallocs int64
	before, after         runtime.MemStats
}

func processNanos() int64 {
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return used.Utime.Nano() + used.Stime.Nano()
}

func (w *stopwatch) start() {
	runtime.ReadMemStats(&w.before)
	w.began = processNanos()
}

func (w *stopwatch) stop() {
	w.nanos = processNanos() - w.began
	runtime.ReadMemStats(&w.after)
	w.mallocs = int64(w.after.Mallocs - w.before.Mallocs)
}

//go:noinline
func answer(number int) int { return number }

func callAwait(count int, watch *stopwatch) {
	sum := 0
	watch.start()
	for i := 0; i < count; i++ {
		sum += answer(1)
	}
	watch.stop()
	demand(sum == count)
}

var errReset = errors.New("connection reset")

//go:noinline
func descend(frames int, fails bool) (int, error) {
	if frames > 1 {
		got, err := descend(frames-1, fails)
		if err != nil {
			return 0, err
		}
		return got + 1, nil
	}
	if fails {
		return 0, errReset
	}
	return 1, nil
}

func tenFrames(fails bool) func(int, *stopwatch) {
	return func(count int, watch *stopwatch) {
		failed := 0
		watch.start()
		for i := 0; i < count; i++ {
			if _, err := descend(10, fails); err != nil {
				failed++
			}
		}
		watch.stop()
		demand(fails == (failed == count))
	}
}

const burst = 1000

func nothing() {}

func spawnFinish(count int, watch *stopwatch) {
	var running sync.WaitGroup
	watch.start()
	for i := 0; i < count; i += burst {
		running.Add(burst)
		for j := 0; j < burst; j++ {
			go func() {
				nothing()
				running.Done()
			}()
		}
		running.Wait()
	}
	watch.stop()
}

//go:noinline
func yields(frames, count int) {
	if frames > 1 {
		yields(frames-1, count)
		return
	}
	for i := 0; i < count; i++ {
		runtime.Gosched()
	}
}

func takeTurns(tasks, frames int) func(int, *stopwatch) {
	return func(count int, watch *stopwatch) {
		var running sync.WaitGroup
		running.Add(tasks)
		for i := 0; i < tasks; i++ {
			go func() {
				yields(frames, count/tasks)
				running.Done()
			}()
		}
		watch.start()
		running.Wait()
		watch.stop()
	}
}

func timer(count int, watch *stopwatch) {
	random := uint64(1)
	later := func() time.Duration {
		random = random * 48271 % 2147483647
		return time.Minute + time.Duration(random%60000000)*time.Microsecond
	}
	pending := make([]*time.Timer, 1000000)
	for i := range pending {
		pending[i] = time.AfterFunc(later(), nothing)
	}
	watch.start()
	for i := 0; i < count; i++ {
		demand(time.AfterFunc(later(), nothing).Stop())
	}
	watch.stop()
	for _, each := range pending {
		each.Stop()
	}
}

func queue(count int, watch *stopwatch) {
	there, back := make(chan int, 1), make(chan int, 1)
	go func() {
		for item := range there {
			back <- item
		}
		close(back)
	}()
	watch.start()
	for i := 0; i < count; i++ {
		there <- 1
		<-back
	}
	watch.stop()
	close(there)
	<-back
}

func lock(count int, watch *stopwatch) {
	const tasks = 10
	var shared sync.Mutex
	var running sync.WaitGroup
	running.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			for j := 0; j < count/tasks; j++ {
				shared.Lock()
				runtime.Gosched()
				shared.Unlock()
			}
			running.Done()
		}()
	}
	watch.start()
	running.Wait()
	watch.stop()
}

func gather(count int, watch *stopwatch) {
	watch.start()
	for i := 0; i < count; i += burst {
		results := make([]int, burst)
		var running sync.WaitGroup
		running.Add(burst)
		for j := range results {
			go func(into *int) {
				*into = answer(1)
				running.Done()
			}(&results[j])
		}
		running.Wait()
		sum := 0
		for _, each := range results {
			sum += each
		}
		demand(sum == burst)
	}
	watch.stop()
}

// post: functions sent to a goroutine that keeps a thread of its own, in bursts of 100.
func post(count int, watch *stopwatch) {
	const atOnce = 100
	runtime.GOMAXPROCS(2)
	mail := make(chan func(), atOnce)
	go func() {
		runtime.LockOSThread()
		for each := range mail {
			each()
		}
	}()
	runtime.LockOSThread()
	ran := make(chan bool)
	watch.start()
	for i := 0; i < count; i += atOnce {
		for j := 1; j < atOnce; j++ {
			mail <- nothing
		}
		mail <- func() { ran <- true }
		<-ran
	}
	watch.stop()
	close(mail)
}

func submit(count int, watch *stopwatch) {
	runtime.GOMAXPROCS(2)
	calls, results := make(chan int), make(chan int)
	go func() {
		runtime.LockOSThread()
		for each := range calls {
			results <- answer(each)
		}
	}()
	runtime.LockOSThread()
	watch.start()
	for i := 0; i < count; i++ {
		calls <- 1
		<-results
	}
	watch.stop()
	close(calls)
}

func demand(done bool) {
	if !done {
		panic("a line did not do its work")
	}
}

var lines = map[string]func(int, *stopwatch){
	"call_await":       callAwait,
	"spawn_finish":     spawnFinish,
	"yield":            takeTurns(1000, 1),
	"yield_8_frames":   takeTurns(1000, 8),
	"yield_alone":      takeTurns(1, 1),
	"value_10_frames":  tenFrames(false),
	"error_10_frames":  tenFrames(true),
	"timer_1m_pending": timer,
	"queue":            queue,
	"lock":             lock,
	"gather_1000":      gather,
	"post":             post,
	"submit":           submit,
}

// --list, or --time LINE N: prints nanoseconds and allocations of one.
func main() {
	if len(os.Args) == 2 && os.Args[1] == "--list" {
		for name := range lines {
			fmt.Println(name)
		}
		return
	}
	if len(os.Args) != 4 || os.Args[1] != "--time" || lines[os.Args[2]] == nil {
		fmt.Fprintln(os.Stderr, "usage: --list | --time LINE N")
		os.Exit(2)
	}
	count, err := strconv.Atoi(os.Args[3])
	demand(err == nil)
	runtime.GOMAXPROCS(1)
	watch := new(stopwatch)
	if os.Args[2] != "timer_1m_pending" {
		lines[os.Args[2]](count, watch) // once to warm up
	}
	lines[os.Args[2]](count, watch)
	fmt.Printf("{\"ns\": %.2f, \"mallocs\": %.3f}\n", float64(watch.nanos)/float64(count),
		float64(watch.mallocs)/float64(count))
}
