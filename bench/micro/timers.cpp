// Which timer structure is cheapest when a million timers are pending and most are cancelled?
//
//   clang++-19 -std=c++20 -O2 -Iruntime/include -Iruntime/src bench/micro/timers.cpp \
//       runtime/src/timers.cpp -o timers && ./timers
//   ./timers pairing a 3      only one structure, one workload, three repetitions
//
// Instructions per op, without setup: divide callgrind's Ir by the number of ops printed last.
//   valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*measured*' \
//       ./timers shipped a 1
//
// Nanoseconds are of processor time; each workload is described where it is defined. The wheel may
// answer first() with a lower bound, which costs it early wake-ups but spares it a search; the
// others answer exactly. Each node lies in a frame of 192 bytes, as awaiters do.
#include "timers.hpp"

#include <ouro/runtime/assert.hpp>

#include <time.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>

// Standing in for the library, of which only the timer queue is linked.
void ouro::detail::assert_failed(const char*, const char*, int, const char* why) noexcept {
    std::fprintf(stderr, "%s\n", why);
    std::abort();
}

namespace {

using clock_type = std::chrono::steady_clock;
using time_point = clock_type::time_point;
using duration = clock_type::duration;
using namespace std::chrono_literals;

struct ordered {
    time_point when{};
    std::uint64_t sequence = 0;
};

template <class A, class B>
bool before(const A& a, const B& b) noexcept {
    return a.when != b.when ? a.when < b.when : a.sequence < b.sequence;
}

// The price of the harness alone: the frame is touched and nothing is queued.
struct nothing {
    static constexpr const char* name = "nothing";
    using node = ordered;
    [[gnu::noinline]] void add(node& n) { n.sequence = ++count; }
    [[gnu::noinline]] void remove(node& n) noexcept { n.sequence = 0, --count; }
    [[gnu::noinline]] node* pop_expired(time_point) noexcept { return nullptr; }
    time_point wake() const noexcept { return {}; }
    std::uint64_t count = 0;
};

struct shipped : ouro::detail::timer_queue {
    static constexpr const char* name = "shipped";
    using node = ouro::detail::timer_node;
    time_point wake() const noexcept { return first() ? first()->when : time_point::max(); }
};

// A binary heap that forgets cancelled timers late, as asyncio does. What the heap points to must
// outlive the timer, hence the pooled record per timer.
class lazy_binary {
  public:
    static constexpr const char* name = "lazy";
    struct record {
        void* owner;
    };
    struct node : ordered {
        record* entry_record = nullptr;
    };

    [[gnu::noinline]] void add(node& n) {
        if (free_.empty()) free_.push_back(&records_.emplace_back());
        n.entry_record = free_.back();
        free_.pop_back();
        n.entry_record->owner = &n;
        n.sequence = next_sequence_++;
        heap_.push_back({n.when, n.sequence, n.entry_record});
        std::push_heap(heap_.begin(), heap_.end(), later);
    }
    [[gnu::noinline]] void remove(node& n) noexcept {
        n.entry_record->owner = nullptr;
        n.entry_record = nullptr;
        if (++cancelled_ > 100 && 2 * cancelled_ > heap_.size()) {
            std::erase_if(heap_, [this](const entry& e) {
                if (e.rec->owner) return false;
                free_.push_back(e.rec);
                return true;
            });
            std::make_heap(heap_.begin(), heap_.end(), later);
            cancelled_ = 0;
        }
        while (!heap_.empty() && !heap_.front().rec->owner) drop_first(), --cancelled_;
    }
    [[gnu::noinline]] node* pop_expired(time_point now) noexcept {
        if (heap_.empty() || heap_.front().when > now) return nullptr;
        node* n = static_cast<node*>(heap_.front().rec->owner);
        drop_first();
        while (!heap_.empty() && !heap_.front().rec->owner) drop_first(), --cancelled_;
        return n;
    }
    time_point wake() const noexcept {
        return heap_.empty() ? time_point::max() : heap_.front().when;
    }

  private:
    struct entry : ordered {
        entry(time_point w, std::uint64_t s, record* r) : ordered{w, s}, rec(r) {}
        record* rec;
    };
    static bool later(const entry& a, const entry& b) noexcept { return before(b, a); }
    void drop_first() noexcept {
        free_.push_back(heap_.front().rec);
        std::pop_heap(heap_.begin(), heap_.end(), later);
        heap_.pop_back();
    }
    std::vector<entry> heap_;
    std::deque<record> records_;
    std::vector<record*> free_;
    std::size_t cancelled_ = 0;
    std::uint64_t next_sequence_ = 0;
};

class pairing {
  public:
    static constexpr const char* name = "pairing";
    struct node : ordered {
        node* child = nullptr;
        node* next = nullptr;
        node* previous = nullptr;  // left sibling, or the parent of a first child
    };

    [[gnu::noinline]] void add(node& n) noexcept {
        n.sequence = next_sequence_++;
        n.child = n.next = n.previous = nullptr;
        root_ = root_ ? meld(root_, &n) : &n;
    }
    [[gnu::noinline]] void remove(node& n) noexcept {
        node* rest = merge(n.child);
        if (&n == root_) {
            root_ = rest;
            return;
        }
        (n.previous->child == &n ? n.previous->child : n.previous->next) = n.next;
        if (n.next) n.next->previous = n.previous;
        if (rest) root_ = meld(root_, rest);
    }
    [[gnu::noinline]] node* pop_expired(time_point now) noexcept {
        if (!root_ || root_->when > now) return nullptr;
        node* n = root_;
        root_ = merge(n->child);
        return n;
    }
    time_point wake() const noexcept { return root_ ? root_->when : time_point::max(); }

  private:
    static node* meld(node* a, node* b) noexcept {
        if (before(*b, *a)) std::swap(a, b);
        b->next = a->child;
        if (b->next) b->next->previous = b;
        b->previous = a;
        a->child = b;
        return a;
    }
    static node* merge(node* from) noexcept {
        node* pairs = nullptr;
        while (from) {
            node* a = from;
            node* b = a->next;
            from = b ? b->next : nullptr;
            a->next = a->previous = nullptr;
            if (b) b->next = b->previous = nullptr, a = meld(a, b);
            a->next = pairs;
            pairs = a;
        }
        node* all = nullptr;
        while (pairs) {
            node* a = std::exchange(pairs, pairs->next);
            a->next = nullptr;
            all = all ? meld(all, a) : a;
        }
        return all;
    }
    node* root_ = nullptr;
    std::uint64_t next_sequence_ = 0;
};

// A hierarchical wheel with ticks of about a millisecond. A slot that comes due is sorted, so
// expiry is exact.
class wheel {
  public:
    static constexpr const char* name = "wheel";
    struct node : ordered {
        node* next = nullptr;
        node* previous = nullptr;
        int slot = 0;  // due_slot, or level * 64 + index
    };

    wheel() {
        for (node& head : heads_) head.next = head.previous = &head;
    }
    [[gnu::noinline]] void add(node& n) noexcept {
        n.sequence = next_sequence_++;
        insert(n);
    }
    [[gnu::noinline]] void remove(node& n) noexcept {
        n.previous->next = n.next;
        n.next->previous = n.previous;
        if (n.next == n.previous && n.slot != due_slot) {
            occupied_[n.slot / 64] &= ~(std::uint64_t{1} << n.slot % 64);
        }
    }
    [[gnu::noinline]] node* pop_expired(time_point now) noexcept {
        node& due = heads_[due_slot];
        const std::uint64_t now_tick = tick(now);
        while (due.next == &due) {
            const auto [slot, start] = next_slot();
            if (start > now_tick) {
                current_ = std::max(current_, now_tick);
                return nullptr;
            }
            current_ = start;
            open(slot);
        }
        node* n = due.next;
        if (n->when > now) return nullptr;
        remove(*n);
        return n;
    }
    time_point wake() const noexcept {
        const node& due = heads_[due_slot];
        if (due.next != &due) return due.next->when;
        const std::uint64_t start = next_slot().start;
        return start == never ? time_point::max() : time_point(duration(start << tick_bits));
    }

  private:
    static constexpr int tick_bits = 20;
    static constexpr int levels = 8;  // 48 bits of ticks: every time_point fits
    static constexpr int due_slot = levels * 64;
    static constexpr std::uint64_t never = ~std::uint64_t{0};
    struct upcoming {
        int slot;
        std::uint64_t start;
    };

    static std::uint64_t tick(time_point t) noexcept {
        return static_cast<std::uint64_t>(t.time_since_epoch().count()) >> tick_bits;
    }
    static void link_before(node& n, node& position) noexcept {
        n.next = &position;
        n.previous = position.previous;
        position.previous->next = &n;
        position.previous = &n;
    }
    void insert(node& n) noexcept {
        const std::uint64_t t = tick(n.when);
        if (t <= current_) {
            node* position = &heads_[due_slot];
            while (position->previous != &heads_[due_slot] && before(n, *position->previous)) {
                position = position->previous;
            }
            n.slot = due_slot;
            link_before(n, *position);
            return;
        }
        const int level = (static_cast<int>(std::bit_width(t ^ current_)) - 1) / 6;
        const int index = static_cast<int>(t >> 6 * level & 63);
        occupied_[level] |= std::uint64_t{1} << index;
        n.slot = level * 64 + index;
        link_before(n, heads_[n.slot]);
    }
    upcoming next_slot() const noexcept {
        for (int level = 0; level < levels; ++level) {
            if (!occupied_[level]) continue;
            const auto index = static_cast<std::uint64_t>(std::countr_zero(occupied_[level]));
            const std::uint64_t above = current_ >> 6 * (level + 1) << 6 * (level + 1);
            return {level * 64 + static_cast<int>(index), above | index << 6 * level};
        }
        return {0, never};
    }
    void open(int slot) noexcept {
        sorted_.clear();
        for (node* n = heads_[slot].next; n != &heads_[slot]; n = n->next) sorted_.push_back(n);
        heads_[slot].next = heads_[slot].previous = &heads_[slot];
        occupied_[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
        if (slot < 64) {
            std::sort(sorted_.begin(), sorted_.end(),
                      [](node* a, node* b) { return before(*a, *b); });
        }
        for (node* n : sorted_) insert(*n);
    }

    node heads_[levels * 64 + 1];
    std::uint64_t occupied_[levels] = {};
    std::uint64_t current_ = 0;  // nodes of ticks up to this one are in due_slot, sorted
    std::vector<node*> sorted_;
    std::uint64_t next_sequence_ = 0;
};

struct random_source {
    std::uint64_t state = 88172645463325252u;
    std::uint64_t operator()() noexcept {
        state ^= state << 13;
        state ^= state >> 7;
        return state ^= state << 17;
    }
    std::size_t index(std::size_t below) noexcept { return (*this)() % below; }
    duration between(duration low, duration high) noexcept {
        return low + duration((*this)() % static_cast<std::uint64_t>((high - low).count()));
    }
};

template <class Queue>
struct world {
    struct alignas(64) frame {
        typename Queue::node timer;
        std::byte rest[192 - sizeof(typename Queue::node)];
    };
    std::vector<frame> frames;
    std::unique_ptr<Queue> queue = std::make_unique<Queue>();
    random_source random;
    time_point now{1h};
    std::size_t ops = 0;
    std::uint64_t sink = 0;
    duration longest{};

    explicit world(std::size_t count) : frames(count) {}
    ~world() {
        while (queue->pop_expired(time_point::max())) continue;
    }

    void arm(frame& f, duration low, duration high) {
        f.timer.when = now + random.between(low, high);
        queue->add(f.timer);
    }
    void look() noexcept {
        sink += static_cast<std::uint64_t>(queue->wake().time_since_epoch().count());
    }
    // Runs `turn` and keeps the longest time one took. Sixteen turns share the two clock readings.
    template <class Turn>
    void repeat(std::size_t count, Turn turn) {
        for (std::size_t done = 0; done < count; done += 16) {
            const auto begin = clock_type::now();
            for (int i = 0; i < 16; ++i) turn();
            longest = std::max(longest, clock_type::now() - begin);
        }
        ops = count;
    }
};

// (a), (b): a connection in a random place ends and another begins; a timer lives 1.2 s on average,
// so 99 % are cancelled before they fire. An op is one remove, one add and a look at the first.
template <class Queue>
struct churn : world<Queue> {
    duration step;
    explicit churn(std::size_t count)
        : world<Queue>(count), step(duration(1200ms) / static_cast<duration::rep>(count)) {
        for (auto& f : this->frames) this->arm(f, 1s, 60s);
        for (std::size_t i = 0; i < 3 * count; ++i) turn();
    }
    void turn() {
        this->now += step;
        while (auto* timer = this->queue->pop_expired(this->now)) {
            timer->when = this->now + this->random.between(1s, 60s);
            this->queue->add(*timer);
        }
        auto& f = this->frames[this->random.index(this->frames.size())];
        this->queue->remove(f.timer);
        this->arm(f, 1s, 60s);
        this->look();
    }
    [[gnu::noinline]] void measured() {
        this->repeat(2'000'000, [this] { turn(); });
    }
};

template <class Queue>
struct churn_million : churn<Queue> {
    churn_million() : churn<Queue>(1'000'000) {}
};

template <class Queue>
struct churn_thousand : churn<Queue> {
    churn_thousand() : churn<Queue>(1'000) {}
};

// (c): a million are added and all fire, the loop waking every millisecond. An op is one timer.
template <class Queue>
struct all_fire : world<Queue> {
    all_fire() : world<Queue>(1'000'000) {}
    [[gnu::noinline]] void measured() {
        for (auto& f : this->frames) this->arm(f, 1s, 60s);
        time_point latest{};
        for (const time_point end = this->now + 61s; this->now < end; this->now += 1ms) {
            const auto begin = clock_type::now();
            while (auto* timer = this->queue->pop_expired(this->now)) {
                if (timer->when < latest) std::puts("OUT OF ORDER");
                latest = timer->when;
                ++this->ops;
            }
            this->look();
            this->longest = std::max(this->longest, clock_type::now() - begin);
        }
    }
};

// (d), (f): short timers come and go in front of a million long ones, one at a time or overlapping.
// An op is one add, one remove and two looks.
template <class Queue>
struct short_in_front : world<Queue> {
    std::vector<typename world<Queue>::frame> extras;
    std::size_t oldest = 0;
    explicit short_in_front(std::size_t pending = 0)
        : world<Queue>(1'000'000), extras(pending + 1) {
        for (auto& f : this->frames) this->arm(f, 30s, 60s);
        for (std::size_t i = 0; i < pending; ++i) this->arm(extras[i], 5ms, 10ms);
    }
    ~short_in_front() {
        while (this->queue->pop_expired(time_point::max())) continue;
    }
    [[gnu::noinline]] void measured() {
        this->repeat(2'000'000, [this] {
            this->now += 1200ns;
            if (this->queue->pop_expired(this->now)) std::puts("TOO EARLY");
            this->arm(extras[(oldest + extras.size() - 1) % extras.size()], 5ms, 10ms);
            this->look();
            this->queue->remove(extras[oldest].timer);
            oldest = (oldest + 1) % extras.size();
            this->look();
        });
    }
};

template <class Queue>
struct sixteen_in_front : short_in_front<Queue> {
    sixteen_in_front() : short_in_front<Queue>(16) {}
};

// (e): a million with the same time-out, the oldest always cancelled first: the worst case of a
// heap, as it always loses its root and gains its last leaf. An op is one remove and one add.
template <class Queue>
struct oldest_first : world<Queue> {
    std::size_t oldest = 0;
    oldest_first() : world<Queue>(1'000'000) {
        for (std::size_t i = 0; i < this->frames.size(); ++i) add_newest();
    }
    void add_newest() {
        this->now += 1200ns;
        auto& f = this->frames[oldest];
        f.timer.when = this->now + 30s;
        this->queue->add(f.timer);
        oldest = (oldest + 1) % this->frames.size();
    }
    [[gnu::noinline]] void measured() {
        this->repeat(2'000'000, [this] {
            this->queue->remove(this->frames[oldest].timer);
            add_newest();
            if (this->queue->pop_expired(this->now)) std::puts("TOO EARLY");
            this->look();
        });
    }
};

// Processor time, so that other processes disturb little.
double processor_ns() noexcept {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// The longest stop is that of the best repetition: what the structure does to itself shows in each,
// what other processes do does not.
template <class Queue, template <class> class Workload>
void run(const char* workload, int repetitions) {
    std::vector<double> cost;
    std::size_t ops = 0;
    duration longest = duration::max();
    for (int i = 0; i < repetitions; ++i) {
        auto w = std::make_unique<Workload<Queue>>();
        const double begin = processor_ns();
        w->measured();
        ops = w->ops;
        cost.push_back((processor_ns() - begin) / static_cast<double>(ops));
        longest = std::min(longest, w->longest);
    }
    std::sort(cost.begin(), cost.end());
    std::printf("%s  %-8s %7.1f ns/op  (%.1f .. %.1f in %d)  longest stop %8.1f us  %zu ops\n",
                workload, Queue::name, cost[cost.size() / 2], cost.front(), cost.back(),
                repetitions, static_cast<double>(longest.count()) / 1000, ops);
    std::fflush(stdout);
}

struct selection {
    const char* structure = nullptr;
    const char* workload = nullptr;
    int repetitions = 5;
    static bool matches(const char* wanted, const char* name) {
        return !wanted || !std::strcmp(wanted, name);
    }
};

template <template <class> class Workload, class... Queues>
void run_all(const selection& chosen, const char* workload) {
    if (!selection::matches(chosen.workload, workload)) return;
    auto one = [&]<class Queue>() {
        if (selection::matches(chosen.structure, Queue::name)) {
            run<Queue, Workload>(workload, chosen.repetitions);
        }
    };
    (one.template operator()<Queues>(), ...);
}

template <class... Queues>
void run_workloads(const selection& chosen) {
    run_all<churn_million, nothing, Queues...>(chosen, "a");
    run_all<churn_thousand, nothing, Queues...>(chosen, "b");
    run_all<all_fire, Queues...>(chosen, "c");
    run_all<short_in_front, nothing, Queues...>(chosen, "d");
    run_all<oldest_first, nothing, Queues...>(chosen, "e");
    run_all<sixteen_in_front, nothing, Queues...>(chosen, "f");
}

}  // namespace

int main(int argc, char** argv) {
    selection chosen;
    if (argc > 1) chosen.structure = argv[1];
    if (argc > 2) chosen.workload = argv[2];
    if (argc > 3) chosen.repetitions = std::atoi(argv[3]);
    run_workloads<shipped, lazy_binary, pairing, wheel>(chosen);
}
