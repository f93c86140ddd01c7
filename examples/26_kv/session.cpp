#include "session.hpp"

namespace kv {

namespace {
// Replies go to the transport in pieces of this size, so that it can say when it has enough.
constexpr std::size_t replies_at_once_bytes = 64 * 1024;

/// What one large request needed does not stay with its client for ever.
void release_if_large(std::string& empty) {
    if (empty.capacity() > 4 * replies_at_once_bytes) empty.shrink_to_fit();
}
}  // namespace

void session::connection_made(std::shared_ptr<ouro::transport> link) {
    link_ = std::move(link);
    ++in_->clients;
    ++in_->connections;
}

void session::connection_lost(ouro::error) {
    --in_->clients;
    link_.reset();
}

void session::data_received(ouro::bytes data) {
    const std::string_view text = ouro::as_text(data);
    if (unfinished_.empty()) {  // nearly always: whole requests come, and are read where they are
        unfinished_ = text.substr(answer_all(text));
    } else {
        unfinished_ += text;
        answer_unfinished();
    }
}

void session::answer_unfinished() {
    unfinished_.erase(0, answer_all(unfinished_));
    if (unfinished_.empty()) release_if_large(unfinished_);
}

void session::pause_writing() {
    paused_ = true;
    link_->pause_reading();
}

void session::resume_writing() {
    paused_ = false;
    answer_unfinished();
    if (!paused_) link_->resume_reading();
}

/// Answers the requests in `input` until the transport has enough. Returns the bytes they took.
std::size_t session::answer_all(std::string_view input) {
    const time_point now = ouro::loop::current().time();
    in_->data.set_now(now);
    std::size_t done = 0;
    while (!paused_ && !link_->is_closing()) {
        const auto state = parser_.parse(input.substr(done));
        if (state == request_parser::state::unfinished) break;
        if (state == request_parser::state::malformed) {
            append_error(replies_, std::string("ERR Protocol error: ") + parser_.problem());
            send_replies();
            link_->close();
            break;
        }
        const bool leaves = !parser_.words().empty() &&
                            answer(*in_, now, parser_.words(), replies_) == after::close;
        done += parser_.size();
        parser_.next();
        if (leaves || replies_.size() >= replies_at_once_bytes) send_replies();
        if (leaves) link_->close();
    }
    send_replies();
    return link_->is_closing() ? input.size() : done;
}

void session::send_replies() {
    if (replies_.empty()) return;
    link_->write(replies_);
    replies_.clear();
    release_if_large(replies_);
}

}  // namespace kv
