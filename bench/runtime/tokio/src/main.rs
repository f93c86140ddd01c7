//! What do the same things cost with tokio? Its single-threaded runtime; an await of a function is
//! part of the caller's state machine, but for recursion, which has to be boxed.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, Mutex};
use tokio::task::yield_now;

/// Processor time of the whole process between start and stop.
#[derive(Default)]
struct Stopwatch {
    began: f64,
    nanos: f64,
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn clock_gettime(clock: i32, into: *mut Timespec) -> i32;
}

fn process_nanos() -> f64 {
    const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
    let mut now = Timespec { seconds: 0, nanoseconds: 0 };
    unsafe { clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    now.seconds as f64 * 1e9 + now.nanoseconds as f64
}

impl Stopwatch {
    fn start(&mut self) {
        self.began = process_nanos();
    }
    fn stop(&mut self) {
        self.nanos = process_nanos() - self.began;
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

#[inline(never)]
async fn answer(number: i32) -> i32 {
    black_box(number)
}

async fn call_await(count: usize, watch: &mut Stopwatch) {
    let mut sum = 0;
    watch.start();
    for _ in 0..count {
        sum += answer(1).await;
    }
    watch.stop();
    assert_eq!(sum, count as i32);
}

fn descend(frames: i32, fails: bool) -> Pin<Box<dyn Future<Output = Result<i32, i32>>>> {
    Box::pin(async move {
        if frames > 1 {
            return Ok(descend(frames - 1, fails).await? + 1);
        }
        if fails {
            Err(104)
        } else {
            Ok(1)
        }
    })
}

async fn ten_frames(count: usize, watch: &mut Stopwatch, fails: bool) {
    let mut failed = 0;
    watch.start();
    for _ in 0..count {
        failed += descend(10, fails).await.is_err() as usize;
    }
    watch.stop();
    assert_eq!(failed, if fails { count } else { 0 });
}

const BURST: usize = 1000;

async fn spawn_finish(count: usize, watch: &mut Stopwatch) {
    let mut last = None;
    watch.start();
    for _ in 0..count / BURST {
        for _ in 0..BURST {
            last = Some(tokio::spawn(async {}));
        }
        last.take().unwrap().await.unwrap();
    }
    watch.stop();
}

fn yields(frames: i32, count: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if frames > 1 {
            return yields(frames - 1, count).await;
        }
        for _ in 0..count {
            yield_now().await;
        }
    })
}

async fn take_turns(count: usize, watch: &mut Stopwatch, tasks: usize, frames: i32) {
    let started: Vec<_> =
        (0..tasks).map(|_| tokio::spawn(yields(frames, count / tasks))).collect();
    watch.start();
    for each in started {
        each.await.unwrap();
    }
    watch.stop();
}

/// Gives a future its first poll, which is what starts a timer.
async fn start<F: Future + Unpin>(future: &mut F) {
    std::future::poll_fn(|context| {
        let _ = Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(())
    })
    .await
}

async fn timer(count: usize, watch: &mut Stopwatch) {
    let mut random: u64 = 1;
    let mut later = move || {
        random = random * 48271 % 2147483647;
        Duration::from_secs(60) + Duration::from_micros(random % 60_000_000)
    };
    let mut pending = Vec::new();
    for _ in 0..1_000_000 {
        pending.push(Box::pin(tokio::time::sleep(later())));
    }
    for each in &mut pending {
        start(each).await;
    }
    watch.start();
    for i in 0..count {
        let each = tokio::time::sleep(later());
        tokio::pin!(each);
        start(&mut each).await;
        if i % BURST == 0 {
            yield_now().await;
        }
    }
    watch.stop();
}

async fn queue(count: usize, watch: &mut Stopwatch) {
    let (to, mut there) = mpsc::channel::<i32>(1);
    let (from, mut back) = mpsc::channel::<i32>(1);
    let other = tokio::spawn(async move {
        while let Some(item) = there.recv().await {
            from.send(item).await.unwrap();
        }
    });
    let one = tokio::spawn(async move {
        for _ in 0..count {
            to.send(1).await.unwrap();
            back.recv().await.unwrap();
        }
    });
    watch.start();
    one.await.unwrap();
    other.await.unwrap();
    watch.stop();
}

async fn lock(count: usize, watch: &mut Stopwatch) {
    const TASKS: usize = 10;
    let shared = Rc::new(Mutex::new(()));
    let tasks = tokio::task::LocalSet::new();
    for _ in 0..TASKS {
        let shared = shared.clone();
        tasks.spawn_local(async move {
            for _ in 0..count / TASKS {
                let _held = shared.lock().await;
                yield_now().await;
            }
        });
    }
    watch.start();
    tasks.await;
    watch.stop();
}

async fn gather(count: usize, watch: &mut Stopwatch) {
    watch.start();
    for _ in 0..count / BURST {
        let started: Vec<_> = (0..BURST).map(|_| tokio::spawn(answer(1))).collect();
        let mut sum = 0;
        for each in started {
            sum += each.await.unwrap();
        }
        assert_eq!(sum, BURST as i32);
    }
    watch.stop();
}

/// A thread hands tasks to the runtime of another one, in bursts of 100, and sleeps until they ran.
fn post(count: usize, watch: &mut Stopwatch) {
    const AT_ONCE: usize = 100;
    let home = runtime();
    let door = home.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let loop_thread = std::thread::spawn(move || home.block_on(stopped).unwrap());
    let (done, ran) = sync_channel::<()>(1);
    watch.start();
    for _ in 0..count / AT_ONCE {
        for _ in 1..AT_ONCE {
            door.spawn(async {});
        }
        let done = done.clone();
        door.spawn(async move { done.send(()).unwrap() });
        ran.recv().unwrap();
    }
    watch.stop();
    stop.send(()).unwrap();
    loop_thread.join().unwrap();
}

/// A task of one runtime has a call made on another one, and goes on with its result.
fn submit(count: usize, watch: &mut Stopwatch) {
    let there = runtime();
    let door = there.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    let other = std::thread::spawn(move || there.block_on(stopped).unwrap());
    runtime().block_on(async {
        let mut sum = 0;
        watch.start();
        for _ in 0..count {
            sum += door.spawn(answer(1)).await.unwrap();
        }
        watch.stop();
        assert_eq!(sum, count as i32);
    });
    stop.send(()).unwrap();
    other.join().unwrap();
}

const LINES: [&str; 13] = [
    "call_await", "spawn_finish", "yield", "yield_8_frames", "yield_alone", "value_10_frames",
    "error_10_frames", "timer_1m_pending", "queue", "lock", "gather_1000", "post", "submit",
];

fn run(line: &str, count: usize) -> Stopwatch {
    let mut watch = Stopwatch::default();
    let clock = &mut watch;
    match line {
        "post" => post(count, clock),
        "submit" => submit(count, clock),
        _ => runtime().block_on(async {
            match line {
                "call_await" => call_await(count, clock).await,
                "spawn_finish" => spawn_finish(count, clock).await,
                "yield" => take_turns(count, clock, 1000, 1).await,
                "yield_8_frames" => take_turns(count, clock, 1000, 8).await,
                "yield_alone" => take_turns(count, clock, 1, 1).await,
                "value_10_frames" => ten_frames(count, clock, false).await,
                "error_10_frames" => ten_frames(count, clock, true).await,
                "timer_1m_pending" => timer(count, clock).await,
                "queue" => queue(count, clock).await,
                "lock" => lock(count, clock).await,
                "gather_1000" => gather(count, clock).await,
                _ => panic!("no such line: {line}"),
            }
        }),
    }
    watch
}

/// `--list`; `--count LINE N` for callgrind and alloc_count; `--time LINE N` prints nanoseconds.
fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.len() == 2 && words[1] == "--list" {
        LINES.iter().for_each(|line| println!("{line}"));
        return;
    }
    let count: usize = words[3].parse().unwrap();
    if words[1] == "--count" {
        run(&words[2], count);
        return;
    }
    if words[2] != "timer_1m_pending" {
        run(&words[2], count); // once to warm up
    }
    println!("{{\"ns\": {:.2}}}", run(&words[2], count).nanos / count as f64);
}
