// What does an echo cost with libuv? One shared read buffer, uv_try_write, a copy if it is short.

#include "server_options.hpp"

#include <uv.h>

#include <vector>

namespace {

struct server {
    uv_loop_t loop;
    union {
        uv_tcp_t tcp;
        uv_pipe_t unix_domain;
        uv_stream_t stream;
    } listener;
    bool on_tcp;
    uv_signal_t terminate;
    uv_signal_t interrupt;
    std::vector<char> buffer;  // all reads: a callback never leaves bytes in it
};

struct connection {
    union {
        uv_tcp_t tcp;
        uv_pipe_t unix_domain;
        uv_stream_t stream;
        uv_handle_t handle;
    } socket;
    server* owner;
    uv_write_t write;
    uv_shutdown_t shutdown;
    std::vector<char> unsent;  // what uv_try_write did not take; reading stops until it is gone
};

connection* connection_of(void* handle) {
    return static_cast<connection*>(static_cast<uv_handle_t*>(handle)->data);
}

void close_connection(connection* peer) {
    if (uv_is_closing(&peer->socket.handle) != 0) return;
    uv_close(&peer->socket.handle, [](uv_handle_t* handle) { delete connection_of(handle); });
}

void on_allocate(uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
    std::vector<char>& shared = connection_of(handle)->owner->buffer;
    *buffer = uv_buf_init(shared.data(), static_cast<unsigned>(shared.size()));
}

void on_read(uv_stream_t* stream, ssize_t received, const uv_buf_t* buffer);

void on_written(uv_write_t* request, int status) {
    connection* const peer = connection_of(request->handle);
    if (status < 0) return close_connection(peer);
    peer->unsent.clear();
    uv_read_start(&peer->socket.stream, on_allocate, on_read);
}

void echo(connection* peer, char* data, std::size_t bytes) {
    const uv_buf_t whole = uv_buf_init(data, static_cast<unsigned>(bytes));
    int sent = uv_try_write(&peer->socket.stream, &whole, 1);
    if (sent == static_cast<int>(bytes)) return;
    if (sent < 0 && sent != UV_EAGAIN) return close_connection(peer);
    sent = sent < 0 ? 0 : sent;
    peer->unsent.assign(data + sent, data + bytes);
    const uv_buf_t rest =
        uv_buf_init(peer->unsent.data(), static_cast<unsigned>(peer->unsent.size()));
    uv_read_stop(&peer->socket.stream);
    if (uv_write(&peer->write, &peer->socket.stream, &rest, 1, on_written) < 0)
        close_connection(peer);
}

void on_read(uv_stream_t* stream, ssize_t received, const uv_buf_t* buffer) {
    connection* const peer = connection_of(stream);
    if (received > 0) {
        echo(peer, buffer->base, static_cast<std::size_t>(received));
    } else if (received == UV_EOF) {
        const auto done = [](uv_shutdown_t* request, int) {
            close_connection(connection_of(request->handle));
        };
        if (uv_shutdown(&peer->shutdown, stream, done) < 0) close_connection(peer);
    } else if (received < 0) {
        close_connection(peer);
    }
}

void on_connection(uv_stream_t* listener, int status) {
    if (status < 0) return;
    auto* const owner = static_cast<server*>(listener->data);
    auto* const peer = new connection{};
    peer->owner = owner;
    if (owner->on_tcp) {
        uv_tcp_init(&owner->loop, &peer->socket.tcp);
    } else {
        uv_pipe_init(&owner->loop, &peer->socket.unix_domain, 0);
    }
    peer->socket.handle.data = peer;
    if (uv_accept(listener, &peer->socket.stream) < 0) return close_connection(peer);
    uv_read_start(&peer->socket.stream, on_allocate, on_read);
}

void require(int status, const char* what) {
    if (status < 0) throw std::system_error(-status, std::generic_category(), what);
}

void serve(const bench::server_options& options) {
    std::signal(SIGPIPE, SIG_IGN);  // libuv leaves this to the program
    static server state;
    state.buffer.resize(options.recv_buffer_bytes);
    state.on_tcp = options.unix_path.empty();
    require(uv_loop_init(&state.loop), "uv_loop_init");
    const int listener = bench::listen_on(options);
    if (state.on_tcp) {
        require(uv_tcp_init(&state.loop, &state.listener.tcp), "uv_tcp_init");
        require(uv_tcp_open(&state.listener.tcp, listener), "uv_tcp_open");
    } else {
        require(uv_pipe_init(&state.loop, &state.listener.unix_domain, 0), "uv_pipe_init");
        require(uv_pipe_open(&state.listener.unix_domain, listener), "uv_pipe_open");
    }
    state.listener.stream.data = &state;
    require(uv_listen(&state.listener.stream, 4096, on_connection), "uv_listen");
    const auto stop = [](uv_signal_t* signal, int) { uv_stop(signal->loop); };
    require(uv_signal_init(&state.loop, &state.terminate), "uv_signal_init");
    require(uv_signal_init(&state.loop, &state.interrupt), "uv_signal_init");
    require(uv_signal_start(&state.terminate, stop, SIGTERM), "uv_signal_start");
    require(uv_signal_start(&state.interrupt, stop, SIGINT), "uv_signal_start");
    bench::announce(options, listener);
    uv_run(&state.loop, UV_RUN_DEFAULT);
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Echo server on libuv."};
    bench::server_options options;
    return bench::server_main(argc, argv, app, options, [&] { serve(options); });
}
