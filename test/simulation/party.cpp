// What parties have in common, and those that are protocols.
#include "party.hpp"

#include <algorithm>
#include <cstring>

namespace ouro::simulated {
namespace {

// The upper half of the number of a conversation, so that noise is not taken for one.
constexpr std::uint64_t number_mark = 0x6f75'726f'0000'0000;

}  // namespace

std::shared_ptr<conversation> scene::converse() {
    const std::uint64_t number = number_mark + conversations.size() + 1;
    return conversations[number] = std::make_shared<conversation>(number, most_bytes, strict);
}

// ---- any party

party::party(std::shared_ptr<scene> in, side who, std::shared_ptr<conversation> about, int service)
    : in_(std::move(in)), who_(who), about_(std::move(about)), service_(service) {
    if (about_) about_->of(who_).present = true;
}

party::~party() {
    retire();
    if (about_ && !about_->of(who_).ended) about_->of(who_).broken = true;
}

void party::enlist() {
    number_ = ++in_->last_party;
    in_->parties[number_] = this;
}

void party::retire() noexcept {
    if (number_) in_->parties.erase(std::exchange(number_, 0));
}

void party::attach() {
    std::uint64_t number = 0;
    std::memcpy(&number, opening_.data(), sizeof number);
    const auto found = in_->conversations.find(number);
    if (found == in_->conversations.end()) return wrong("a server heard what nobody said");
    about_ = found->second;
    if (std::exchange(about_->of(who_).present, true)) {
        wrong("two servers heard the opening of one conversation");
    }
    about_->take(side::client, opening_);
    known.wake_all();
}

void party::hear(bytes data) {
    if (!about_) {
        const bytes head = data.first(std::min(data.size(), opening_bytes - opening_.size()));
        opening_.insert(opening_.end(), head.begin(), head.end());
        data = data.subspan(head.size());
        if (opening_.size() < opening_bytes) return;
        attach();
    }
    if (about_ && !data.empty()) about_->take(other(who_), data);
}

void party::hear_end() {
    if (about_ && !left_ && !about_->of(who_).broken) complaint_ = about_->take_end(other(who_));
}

void party::hear_error(const error& why) {
    complaint_.clear();
    if (about_) return about_->take_error(who_, why);
    if (in_->healthy || !may_end_a_connection(why)) {
        wrong("a server met, before it knew who speaks: " + why.message());
    }
}

bool party::has_more() const noexcept {
    return about_ && about_->of(who_).written < what().total_bytes;
}

bool party::leaves_now() noexcept {
    if (!about_ || what().how == ending::polite || what().how == ending::patient) return false;
    const std::uint64_t moved = about_->of(who_).written + about_->of(other(who_)).received;
    return leaves_ = leaves_ || moved >= what().leaves_after;
}

std::vector<std::byte> party::next_words() {
    conversation::half& mine = about_->of(who_);
    const std::uint64_t most = std::min(what().most_chunk, what().total_bytes - mine.written);
    std::vector<std::byte> words(draw(1, most));
    about_->fill(who_, mine.written, words);
    mine.written += words.size();
    return words;
}

void party::took_back(std::size_t count, std::size_t taken) {
    if (count && taken) doubts_ = true;  // an error, which no later call will tell
    conversation::half& mine = about_->of(who_);
    mine.written -= count;
    if (mine.received > mine.written) {
        wrong("more arrived than a send said it took (G2): " + describe());
    }
}

void party::say_end() {
    if (about_) about_->of(who_).ended = true;
}

void party::break_off() {
    if (about_) about_->of(who_).broken = true;
    left_ = true;
}

void party::hear_end_of_transport() {
    hear_end();
    if (in_->strict_ends && !complaint_.empty()) wrong(std::exchange(complaint_, {}));
}

void party::finish() {
    if (!complaint_.empty() && !doubts_ && !leaves_) wrong(complaint_);
    if (about_) about_->finish();
}

std::string party::describe() const {
    std::string text = std::string("a ") + to_string(who_) + " of service " +
                       std::to_string(service_) + (left_ ? ", left" : "");
    return text + ", " + (about_ ? about_->describe() : "before the opening");
}

std::shared_ptr<party> make_party(std::shared_ptr<scene> in, side who,
                                  std::shared_ptr<conversation> about, int service) {
    class coroutine_party final : public party {
      public:
        coroutine_party(std::shared_ptr<scene> scene, side whose,
                        std::shared_ptr<conversation> topic, int number)
            : party(std::move(scene), whose, std::move(topic), number) {
            enlist();
        }
    };
    return std::make_shared<coroutine_party>(std::move(in), who, std::move(about), service);
}

// ---- protocols

void talker::check(bool holds, const char* rule) const {
    if (!holds) wrong(std::string(rule) + ": " + describe());
}

std::string talker::describe() const {
    constexpr const char* names[] = {"fresh", "made", "at its end", "lost"};
    std::string text = party::describe() + ", " + names[static_cast<int>(stage_)];
    if (write_paused_) text += ", writing paused";
    if (reading_paused_) text += ", reading paused";
    if (link_) text += ", " + std::to_string(link_->get_write_buffer_size()) + " bytes queued";
    if (link_ && link_->is_closing()) text += ", closing";
    return text;
}

void talker::made(std::shared_ptr<transport> link) {
    check(stage_ == stage::fresh, "connection_made comes once, and first");
    stage_ = stage::made;
    link_ = std::move(link);
    enlist();
    if (once_in(2)) {
        const auto high = static_cast<std::ptrdiff_t>(draw(0, 4096));
        check(!link_->set_write_buffer_limits(high), "limits in order are taken");
    }
    go_on();
}

void talker::heard(bytes data) {
    check(stage_ == stage::made, "data comes after made and before eof and lost");
    check(!reading_paused_, "no data while reading is paused (rule 297)");
    check(!left(), "no data after close or abort (rule 308)");
    check(!data.empty(), "data is never empty");
    hear(data);
    if (knows() && what().pauses && once_in(4) && !link_->is_closing()) {
        link_->pause_reading();
        reading_paused_ = true;
        pause_ = loop::current().call_later(draw_time(0, 50'000), [this] {
            reading_paused_ = false;
            link_->resume_reading();
        });
    }
    go_on();
}

bool talker::ended() {
    check(stage_ == stage::made, "eof comes once, after made and before lost");
    check(!reading_paused_ && !left(), "no eof while paused or after close");
    stage_ = stage::ended;
    hear_end_of_transport();
    go_on();
    if (left() || (knows() && !said_end_)) return true;  // it has closed, or goes on talking
    say_end();                                           // what the transport does now is a close
    leave();
    return false;
}

void talker::lost(const error& why) {
    check(stage_ == stage::made || stage_ == stage::ended, "lost comes once, after made");
    stage_ = stage::lost;
    for (timer_handle* each : {&rest_, &pause_, &last_resort}) each->cancel();
    if (why) {
        hear_error(why);
    } else if (!left()) {
        wrong("a connection was lost without an error though nobody ended it: " + describe());
    }
    if (!why) finish();
    leave();
    link_.reset();
    retire();
    over.wake_all();
}

void talker::pause() {
    check(!write_paused_, "pause and resume take turns (rule 274)");
    check(stage_ == stage::made || stage_ == stage::ended, "pause comes after made, before lost");
    check(link_->get_write_buffer_size() > link_->get_write_buffer_limits().second,
          "pause comes above the high watermark");
    write_paused_ = true;
}

void talker::resume() {
    check(write_paused_, "resume comes after pause (rule 275)");
    check(stage_ == stage::made || stage_ == stage::ended, "resume comes before lost");
    check(link_->get_write_buffer_size() <= link_->get_write_buffer_limits().first,
          "resume comes at the low watermark");
    write_paused_ = false;
    go_on();
}

/// Says what there is to say, until something holds it up.
void talker::go_on() {
    if (!knows()) return;
    rest_.cancel();
    while (link_ && !link_->is_closing() && !write_paused_) {
        if (leaves_now()) return what().how == ending::aborts ? abort() : close();
        if (!has_more()) break;
        write(next_words());
        if (what().rests && once_in(3)) {
            rest_ = loop::current().call_later(draw_time(0, 20'000), [this] { go_on(); });
            return;
        }
    }
    if (!link_ || link_->is_closing() || has_more()) return;
    const bool heard_all = stage_ == stage::ended;
    if (!said_end_ && (heard_all || what().how != ending::patient)) {
        said_end_ = true;
        say_end();
        check(!link_->write_eof(), "a stream can be half-closed");
    }
    if (heard_all) close();
}

void talker::write(std::vector<std::byte> words) {
    const std::size_t size = words.size();
    std::error_code refused;
    switch (draw(0, 2)) {
    case 0:
        refused = link_->write(bytes(words));
        break;
    case 1:
        refused = link_->write(std::move(words));
        break;
    default: {
        const bytes all(words);
        const bytes pieces[] = {all.first(size / 2), all.subspan(size / 2)};
        refused = link_->writelines(pieces);
    }
    }
    check(!refused, "writing before write_eof is not refused");
    const std::size_t queued = link_->get_write_buffer_size();
    const std::size_t high = link_->get_write_buffer_limits().second;
    check(queued <= high + size, "the queue is bounded by the watermark and one write");
    check(queued <= high || write_paused_ || link_->is_closing(), "above the watermark it pauses");
}

void talker::close() {
    say_end();
    leave();
    rest_.cancel();
    last_resort = loop::current().call_later(close_patience, [this] { abort(); });
    link_->close();
    check(link_->is_closing(), "a closed transport is closing");
}

void talker::abort() {
    break_off();
    link_->abort();
}

void talker::walk_out() {
    if (!link_ || link_->is_closing()) return;
    once_in(2) ? close() : abort();
}

mut_bytes buffered_talker::get_buffer(std::ptrdiff_t) {
    if (!reads()) wrong("a buffer is asked for although nothing may be received: " + describe());
    memory_ = std::vector<std::byte>(draw(1, once_in(2) ? 64 : 8192));
    return memory_;
}

void buffered_talker::buffer_updated(std::size_t count) {
    if (count > memory_.size()) return wrong("more was placed than there was room for");
    heard(bytes(memory_).first(count));
}

}  // namespace ouro::simulated
