// Name look-ups: getaddrinfo on a thread of its own, because it blocks and cannot be interrupted.
#include "resolve.hpp"

#include <netdb.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "loop_state.hpp"
#include "threads.hpp"

namespace ouro::detail {
namespace {

/// Shared by the waiting op and the thread; whoever of them leaves first lets go of it.
struct job {
    io::resolve_op* waiter = nullptr;  // null once cancelled; loop thread only
    loop_handle home;
    std::string host;
    std::string service;
    addrinfo hints{};
    int code = 0;
    std::vector<io::resolved> answers;
};

int errno_of(int gai_code) noexcept {
    switch (gai_code) {
    case 0:
        return 0;
    case EAI_MEMORY:
        return ENOMEM;
    case EAI_AGAIN:
        return EAGAIN;
    case EAI_FAMILY:
        return EAFNOSUPPORT;
    default:
        return ENOENT;
    }
}

void look_up(job& work) noexcept {
    addrinfo* found = nullptr;
    work.code =
        ::getaddrinfo(work.host.empty() ? nullptr : work.host.c_str(),
                      work.service.empty() ? nullptr : work.service.c_str(), &work.hints, &found);
    if (work.code != 0) return;
    try {
        for (addrinfo* each = found; each; each = each->ai_next) {
            io::resolved answer;
            answer.length = each->ai_addrlen;
            std::memcpy(&answer.storage, each->ai_addr, each->ai_addrlen);
            work.answers.push_back(answer);
        }
    } catch (...) {
        work.code = EAI_MEMORY;
    }
    ::freeaddrinfo(found);
}

void finished(loop_state& home, job& done) noexcept {
    if (!done.waiter) return;
    io::resolve_op& request = *done.waiter;
    request.answers = std::move(done.answers);
    request.gai_code = done.code;
    delete static_cast<std::shared_ptr<job>*>(std::exchange(request.engine_job, nullptr));
    request.engine_state = 0;
    home.complete_later(request, -errno_of(request.gai_code));
}

}  // namespace

void start_resolve(loop_state& home, io::resolve_op& request) noexcept try {
    auto work = std::make_shared<job>();
    work->waiter = &request;
    work->home = home.self.get_handle();
    work->host = request.host;
    work->service = request.service;
    work->hints.ai_family = request.family;
    work->hints.ai_flags = request.flags;
    work->hints.ai_socktype = SOCK_STREAM;
    auto held = std::make_unique<std::shared_ptr<job>>(work);
    // Detached on purpose: getaddrinfo cannot be stopped, and a loop must not wait for a name
    // server to close (rule 70).
    start_thread("ouro-resolve", [work = std::move(work), &home]() mutable {
        look_up(*work);
        const loop_handle back = work->home;
        post_surely([&] { return back.post([work, &home] { finished(home, *work); }); });
    }).detach();
    request.engine_job = held.release();
    request.engine_state = resolving;
} catch (...) {
    request.gai_code = EAI_MEMORY;
    home.complete_later(request, -EAGAIN);  // no memory or no thread to be had
}

void cancel_resolve(loop_state& home, io::resolve_op& request) noexcept {
    auto* held = static_cast<std::shared_ptr<job>*>(std::exchange(request.engine_job, nullptr));
    (*held)->waiter = nullptr;
    delete held;
    request.engine_state = 0;
    home.complete_later(request, -ECANCELED);
}

}  // namespace ouro::detail
