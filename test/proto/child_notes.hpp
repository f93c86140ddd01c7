// A subprocess_protocol that records what happens to a child.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <ouro/proto/subprocess.hpp>

#include "async_test.hpp"

namespace ouro::test {

/// What happened to one child. Refuses what comes before the beginning or after the end.
struct child_notes : subprocess_protocol {
    std::vector<std::string> events;  // made, data 1, lost 0, exited, pause, resume, lost
    std::string text[3];              // by descriptor
    std::shared_ptr<subprocess_transport> link;
    error pipe_ends[3];
    std::optional<int> code_at_exit;
    std::function<void()> on_made;
    std::function<void()> on_exit;

    void connection_made(std::shared_ptr<subprocess_transport> made) override {
        BOOST_TEST(events.empty());
        link = std::move(made);
        note("made");
        if (on_made) on_made();
    }
    void pipe_data_received(int fd, bytes data) override {
        BOOST_TEST(!data.empty());
        BOOST_TEST(!has("lost " + std::to_string(fd)));
        text[fd].append(as_text(data));
        note("data " + std::to_string(fd));
    }
    void pipe_connection_lost(int fd, error why) override {
        BOOST_TEST(!has("lost " + std::to_string(fd)));
        pipe_ends[fd] = std::move(why);
        note("lost " + std::to_string(fd));
    }
    void process_exited() override {
        BOOST_TEST(!has("exited"));
        if (link) code_at_exit = link->return_code();
        note("exited");
        if (on_exit) on_exit();
    }
    void pause_writing() override { note("pause"); }
    void resume_writing() override { note("resume"); }
    void connection_lost(error why) override {
        BOOST_TEST(!why);
        note("lost");
    }

    bool has(std::string_view event) const {
        return std::find(events.begin(), events.end(), event) != events.end();
    }
    /// Where `event` is in the order; past all when it is not there.
    std::size_t place(std::string_view event) const {
        return static_cast<std::size_t>(std::find(events.begin(), events.end(), event) -
                                        events.begin());
    }

  private:
    void note(std::string event) {
        if (event != "made") BOOST_TEST(has("made"));
        BOOST_TEST(!has("lost"));
        if (events.empty() || events.back() != event) events.push_back(std::move(event));
    }
};
using notes_ptr = std::shared_ptr<child_notes>;

/// Waits for an event of `seen`.
inline task<> until(notes_ptr seen, std::string event) {
    co_await eventually([seen, event] { return seen->has(event); });
}

/// A child and what is known of it. It is closed with this.
struct watched_child {
    notes_ptr seen;
    std::shared_ptr<subprocess_transport> link;

    watched_child(notes_ptr notes, std::shared_ptr<subprocess_transport> made)
        : seen(std::move(notes)), link(std::move(made)) {}
    watched_child(watched_child&&) = default;
    watched_child& operator=(watched_child&&) = delete;
    ~watched_child() {
        if (!link) return;
        seen->on_made = seen->on_exit = nullptr;
        seen->link.reset();
        link->close();
    }
    /// Waits for an event.
    task<> until(std::string event) const { return test::until(seen, std::move(event)); }
    /// Waits for the end of everything.
    task<> over() const { return test::until(seen, "lost"); }
    const std::string& text(int fd) const { return seen->text[fd]; }
};

/// Runs `script` in a shell.
inline task<watched_child> shell(std::string script, subprocess_options options = {},
                                 notes_ptr seen = std::make_shared<child_notes>()) {
    auto made =
        co_await subprocess_shell([seen] { return seen; }, std::move(script), std::move(options));
    co_return watched_child(std::move(seen), std::move(made.transport));
}
/// Runs a program.
inline task<watched_child> run_program(std::vector<std::string> arguments,
                                       subprocess_options options = {}) {
    auto seen = std::make_shared<child_notes>();
    auto made =
        co_await subprocess_exec([seen] { return seen; }, std::move(arguments), std::move(options));
    co_return watched_child(std::move(seen), std::move(made.transport));
}

/// How running a program fails.
struct failed_run {
    error why;
};
inline task<failed_run> failure_of(std::vector<std::string> arguments,
                                   subprocess_options options = {}) {
    auto made = co_await as_result(run_program(std::move(arguments), std::move(options)));
    BOOST_TEST(!made.has_value());
    co_return failed_run{made ? error() : made.error()};
}

}  // namespace ouro::test
