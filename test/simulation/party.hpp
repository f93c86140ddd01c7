// The ends of conversations: protocols, streams and raw sockets that say their part and check what
// they hear.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include <ouro/ouro.hpp>
#include <ouro/runtime/waiters.hpp>

#include "conversation.hpp"

namespace ouro::simulated {

class party;

/// What all tasks of a scenario share.
struct scene {
    std::uint64_t most_bytes = 0;  ///< of one direction of a conversation
    bool healthy = false;          ///< from the beginning there is nothing that may go wrong
    bool strict_ends = false;      ///< a reset must never look like an end of stream
    bool strict = false;           ///< nothing may go wrong in what begins now
    std::map<std::uint64_t, std::shared_ptr<conversation>> conversations{};
    std::map<std::uint64_t, party*> parties{};  ///< with a connection, in order of their making
    std::uint64_t last_party = 0;

    /// A new conversation.
    std::shared_ptr<conversation> converse();
};

/// One end of a connection: what it says and hears, whatever carries it.
class party {
  public:
    /// A server does not know what the conversation is about before it has heard the opening.
    party(std::shared_ptr<scene> in, side who, std::shared_ptr<conversation> about, int service);
    virtual ~party();
    party(const party&) = delete;
    party& operator=(const party&) = delete;

    void hear(bytes data);
    void hear_end();
    /// The same from a transport, which could know better than a bare socket: with `strict_ends` a
    /// wrong end counts at once, and not only when no error follows.
    void hear_end_of_transport();
    void hear_error(const error& why);
    bool knows() const noexcept { return about_ != nullptr; }
    bool has_more() const noexcept;
    /// Whether the time has come to leave in the middle of things; then it stays so.
    bool leaves_now() noexcept;
    const plan& what() const noexcept { return about_->plan_of(who_); }
    /// What to write next; counts as written.
    std::vector<std::byte> next_words();
    /// Of the last words, the kernel took `taken` and left `count`.
    void took_back(std::size_t count, std::size_t taken);
    /// From here on nothing more is said, and all of it shall arrive.
    void say_end();
    /// From here on the connection may end anyhow.
    void break_off();
    /// It closed its end, so that nothing it hears from here on tells of the other one.
    void leave() noexcept { left_ = true; }
    bool left() const noexcept { return left_; }
    /// Its connection ended without an error. Only now it is told what was wrong with the end of
    /// stream it heard: a send may meet the error of a dead connection and leave an end of stream
    /// to the receive, in the kernel and here.
    void finish();
    bool is_server_of(int service) const noexcept {
        return who_ == side::server && service_ == service;
    }
    virtual std::string describe() const;

    timer_handle last_resort{};   ///< aborts a connection that takes too long to close
    detail::waiter_list known{};  ///< woken when it knows, or never will

  protected:
    void enlist();
    void retire() noexcept;
    std::shared_ptr<scene> in_;
    const side who_;
    std::shared_ptr<conversation> about_;

  private:
    void attach();
    const int service_;
    std::uint64_t number_ = 0;  // in the scene; 0: not in it
    std::vector<std::byte> opening_;
    bool leaves_ = false;
    bool doubts_ = false;
    bool left_ = false;
    std::string complaint_;
};

/// A party on a transport. Checks the order of the callbacks (G5) and the watermarks (G6).
class talker : public party {
  public:
    using party::party;
    /// Closes or aborts, as chance has it.
    void walk_out();
    /// Whether its connection was lost.
    bool is_over() const noexcept { return stage_ == stage::lost; }
    std::string describe() const override;
    detail::waiter_list over{};  ///< woken when the connection is lost

  protected:
    void made(std::shared_ptr<transport> link);
    void heard(bytes data);
    bool ended();
    void lost(const error& why);
    void pause();
    void resume();
    bool reads() const noexcept { return stage_ == stage::made && !reading_paused_ && !left(); }

  private:
    enum class stage : unsigned char { fresh, made, ended, lost };
    void go_on();
    void write(std::vector<std::byte> words);
    void close();
    void abort();
    void check(bool holds, const char* rule) const;

    std::shared_ptr<transport> link_;
    timer_handle rest_, pause_;
    stage stage_ = stage::fresh;
    bool write_paused_ = false;
    bool reading_paused_ = false;
    bool said_end_ = false;
};

/// A party as a streaming protocol.
class streaming_talker final : public protocol, public talker {
  public:
    using talker::talker;
    void connection_made(std::shared_ptr<transport> link) override { made(std::move(link)); }
    void data_received(bytes data) override { heard(data); }
    bool eof_received() override { return ended(); }
    void connection_lost(error why) override { lost(why); }
    void pause_writing() override { pause(); }
    void resume_writing() override { resume(); }
};

/// A party as a protocol with memory of its own.
class buffered_talker final : public buffered_protocol, public talker {
  public:
    using talker::talker;
    void connection_made(std::shared_ptr<transport> link) override { made(std::move(link)); }
    mut_bytes get_buffer(std::ptrdiff_t hint) override;
    void buffer_updated(std::size_t count) override;
    bool eof_received() override { return ended(); }
    void connection_lost(error why) override { lost(why); }
    void pause_writing() override { pause(); }
    void resume_writing() override { resume(); }

  private:
    std::vector<std::byte> memory_;
};

/// A party on a reader and a writer. Never fails.
task<> talk_on_streams(std::shared_ptr<party> me, stream_reader reader, stream_writer writer);
/// A party on a socket. Never fails.
task<> talk_on_socket(std::shared_ptr<party> me, socket own);
/// A party of either kind above, which is in the scene as long as it lives.
std::shared_ptr<party> make_party(std::shared_ptr<scene> in, side who,
                                  std::shared_ptr<conversation> about, int service);

/// How long a connection may take to close before it is aborted: two ends that both flush and do
/// not read would wait for ever.
inline constexpr auto close_patience = std::chrono::seconds(30);

}  // namespace ouro::simulated
