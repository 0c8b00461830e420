#include "pattern.hpp"

#include <map>
#include <set>
#include <stdexcept>
#include <utility>

namespace hamsa {

// Thompson's construction: "Regular expression search algorithm", Communications of the ACM 11 (6), 1968.
class PatternParser {
  public:
    using Bytes = Pattern::Bytes;
    using State = Pattern::State;
    // Where to go in, and the state without bytes at which one comes out.
    struct Part {
        std::size_t in, out;
    };

    explicit PatternParser(const std::string& text) : text_(text) {}

    std::vector<State> parsed() {
        if (text_.size() < 2 || text_.front() != '^' || text_.back() != '$') {
            throw mistake("it is not anchored at both ends");
        }
        at_ = 1;
        const Part whole = sequence();
        if (at_ + 1 != text_.size()) {
            throw mistake("an end, or a bar that is in no group");
        }
        states_.push_back({});
        join(whole.out, states_.size() - 1);
        states_.front().next.push_back(whole.in);
        return std::move(states_);
    }

  private:
    std::logic_error mistake(const std::string& why) const {
        return std::logic_error("the pattern " + text_ + " at " + std::to_string(at_) + ": " + why);
    }

    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

    bool taken(const std::string& expected) {
        const bool found = text_.compare(at_, expected.size(), expected) == 0;
        at_ += found ? expected.size() : 0;
        return found;
    }

    char take() {
        if (at_ + 1 >= text_.size()) {
            throw mistake("cut");
        }
        return text_[at_++];
    }

    std::size_t state(Bytes bytes = {}) {
        states_.push_back({bytes, {}});
        return states_.size() - 1;
    }

    void join(std::size_t from, std::size_t to) { states_[from].next.push_back(to); }

    Part alternatives() {
        const Part whole{state(), state()};
        do {
            const Part one = sequence();
            join(whole.in, one.in);
            join(one.out, whole.out);
        } while (taken("|"));
        return whole;
    }

    Part sequence() {
        const std::size_t in = state();
        Part whole{in, in};
        while (peek() != '|' && peek() != ')' && at_ + 1 < text_.size()) {
            const Part next = repeated();
            join(whole.out, next.in);
            whole.out = next.out;
        }
        return whole;
    }

    Part repeated() {
        const std::size_t start = at_;
        const Part one = item();
        if (taken("*") || taken("+")) {
            const bool none_will_do = text_[at_ - 1] == '*';
            const Part whole{state(), state()};
            join(whole.in, one.in);
            join(one.out, one.in);
            join(one.out, whole.out);
            if (none_will_do) {
                join(whole.in, whole.out);
            }
            return whole;
        }
        return taken("{") ? times(one, start, count()) : one;
    }

    // The item at `start` is parsed once for each time.
    Part times(Part whole, std::size_t start, int count) {
        const std::size_t end = at_;
        for (int i = 1; i < count; ++i) {
            at_ = start;
            const Part next = item();
            join(whole.out, next.in);
            whole.out = next.out;
        }
        at_ = end;
        return whole;
    }

    int count() {
        int found = 0;
        while (peek() >= '0' && peek() <= '9') {
            found = 10 * found + (take() - '0');
        }
        if (found == 0 || !taken("}")) {
            throw mistake("not {n}");
        }
        return found;
    }

    Part item() {
        if (taken("(?:")) {
            const Part group = alternatives();
            if (!taken(")")) {
                throw mistake("a group without its end");
            }
            return group;
        }
        return taken("[") ? of_class() : single(Bytes().set(ascii(character("^$.*+?()[]{}|"))));
    }

    Part single(Bytes bytes) {
        const Part one{state(bytes), state()};
        join(one.in, one.out);
        return one;
    }

    Part of_class() {
        const bool all_but = taken("^");
        Bytes bytes;
        std::set<std::size_t> beyond;  // ASCII
        while (!taken("]")) {
            const std::size_t first = character("[");
            const std::size_t last = peek() == '-' ? (take(), character("[]")) : first;
            for (std::size_t code = first; code <= last; ++code) {
                if (code < 0x80) {
                    bytes.set(code);
                } else {
                    beyond.insert(all_but ? code : throw mistake("a character beyond ASCII, not in [^...]"));
                }
            }
        }
        return all_but ? other_than(~bytes, beyond) : single(bytes);
    }

    // One of the bytes, or of a longer character each; but none of these characters, whose first bytes lead to the rest
    // of their like.
    Part other_than(Bytes bytes, const std::set<std::size_t>& codes) {
        std::map<std::size_t, std::set<std::size_t>> by_first;
        for (const std::size_t code : codes) {
            const std::size_t first = code < 0x800 ? 0xC0 | code >> 6 : 0xE0 | code >> 12;
            bytes.reset(first);
            by_first[first].insert(code);
        }
        const Part whole{state(), state()};
        const Part one = single(bytes);
        join(whole.in, one.in);
        join(one.out, whole.out);
        for (const auto& [first, some] : by_first) {
            const Part lead = single(Bytes().set(first));
            join(whole.in, lead.in);
            join_rest(lead.out, whole.out, some, first < 0xE0 ? 1 : 2);
        }
        return whole;
    }

    // From the state before the last bytes of a character to the one after it, but for these.
    void join_rest(std::size_t from, std::size_t to, const std::set<std::size_t>& codes, int left) {
        Bytes free;
        for (std::size_t byte = 0x80; byte < 0xC0; ++byte) {
            free.set(byte);
        }
        const Bytes any = free;
        std::map<std::size_t, std::set<std::size_t>> by_next;
        for (const std::size_t code : codes) {
            const std::size_t next = 0x80 | (code >> 6 * (left - 1) & 0x3F);
            free.reset(next);
            by_next[next].insert(code);
        }
        if (free.any()) {  // a state without bytes would need none
            Part part = single(free);
            join(from, part.in);
            for (int i = 1; i < left; ++i) {
                const Part next = single(any);
                join(part.out, next.in);
                part.out = next.out;
            }
            join(part.out, to);
        }
        for (const auto& [next, some] : by_next) {
            if (left > 1) {
                const Part one = single(Bytes().set(next));
                join(from, one.in);
                join_rest(one.out, to, some, left - 1);
            }
        }
    }

    std::size_t ascii(std::size_t code) const {
        return code < 0x80 ? code : throw mistake("a character beyond ASCII");
    }

    // One character, which may be escaped, but none of `special`.
    std::size_t character(const std::string& special) {
        const char c = take();
        if (c == '\\') {
            return escaped(take());
        }
        if (static_cast<unsigned char>(c) >= 0x80 || special.find(c) != std::string::npos) {
            throw mistake(std::string("an unknown ") + c);
        }
        return static_cast<std::size_t>(c);
    }

    std::size_t escaped(char c) {
        if (c != 'u') {
            const bool stands_for_itself = std::string("^$.*+?()[]{}|\\/-").find(c) != std::string::npos;
            return stands_for_itself ? static_cast<std::size_t>(c) : throw mistake(std::string("an unknown \\") + c);
        }
        std::string digits;
        for (int i = 0; i < 4; ++i) {
            digits += take();
        }
        const std::size_t code = std::stoul(digits, nullptr, 16);
        return code < 0xD800 ? code : throw mistake("a character beyond U+D7FF");
    }

    const std::string& text_;
    std::size_t at_ = 0;
    std::vector<State> states_ = std::vector<State>(1);  // the first is the way in
};

Pattern::Pattern(const std::string& text) : states_(PatternParser(text).parsed()) {}

void Pattern::enter(std::size_t state, std::vector<bool>& active) const {
    if (active[state]) {
        return;
    }
    active[state] = true;
    if (states_[state].bytes.none()) {
        for (const std::size_t next : states_[state].next) {
            enter(next, active);
        }
    }
}

bool Pattern::matches(const std::string& text) const {
    std::vector<bool> active(states_.size()), then;
    enter(0, active);
    for (const char c : text) {
        then.assign(states_.size(), false);
        for (std::size_t i = 0; i < states_.size(); ++i) {
            if (active[i] && states_[i].bytes.test(static_cast<unsigned char>(c))) {
                for (const std::size_t next : states_[i].next) {
                    enter(next, then);
                }
            }
        }
        std::swap(active, then);
    }
    return active.back();
}

}  // namespace hamsa
