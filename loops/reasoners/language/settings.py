"""What a scenario says of its language models: `[reasoner.language]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, AnyHttpUrl, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from loops.ports import MAX_OPTIONS

MAX_WAIT_S = 60.0
"""The longest wait before another attempt: rate limits are counted by the minute. An endpoint whose Retry-After asks
for more is given up, and the session rests."""

MAX_LEFT_OUT = 5
"""Further attempts without a parameter that the endpoint does not know; each is made once in a process's life."""

Words = Annotated[str, Field(min_length=1)]


def _http(url: str) -> str:
    TypeAdapter(AnyHttpUrl).validate_python(url)
    return url


BaseUrl = Annotated[str, AfterValidator(_http)]
"""Where an endpoint is, up to and with `/v1`."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Price(_Closed):
    """What a model costs, in US dollars a million tokens."""

    input_usd_per_million: float = Field(ge=0)
    """Of the prompt."""
    output_usd_per_million: float = Field(ge=0)
    """Of the answer."""
    cached_input_usd_per_million: float | None = Field(default=None, ge=0)
    """Of the part of the prompt that the endpoint had cached; as the rest of it when there is none."""

    def of(self, *, input_tokens: int, cached_tokens: int, output_tokens: int) -> float:
        """US dollars. `cached_tokens` are part of `input_tokens`."""
        cached = self.input_usd_per_million
        if self.cached_input_usd_per_million is not None:
            cached = self.cached_input_usd_per_million
        fresh = (input_tokens - cached_tokens) * self.input_usd_per_million
        return (fresh + cached_tokens * cached + output_tokens * self.output_usd_per_million) / 1e6


NOT_SENT = frozenset({"host", "tools", "left_out"})
"""Parameters of a request's event that only describe it: where it went, the digest of its tools, and which parameters
its endpoint was found not to take."""


class ModelDefaults(_Closed):
    """What this machine's settings say of models; a scenario may say otherwise for an endpoint of its own."""

    base_url: BaseUrl = "https://api.openai.com/v1"
    """The endpoint that is asked where a scenario names none."""
    model: str | None = None
    """The model that is asked where a scenario names none."""
    prices: dict[str, Price] = {}
    """By model name; a model without one costs nothing that is known."""


class EndpointSettings(_Closed):
    """One model behind an OpenAI-compatible endpoint."""

    model: str | None = None
    """The model's name there; the setting `model` of this machine when there is none."""
    base_url: BaseUrl | None = None
    """Up to and with `/v1`; the setting `openai_base_url` of this machine (OPENAI_BASE_URL) when there is none."""
    key: str = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key. The key itself never stands in a scenario."""
    temperature: float | None = Field(default=None, ge=0)
    """As the endpoint understands it; left out of the request when there is none."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """As the endpoint understands it."""
    max_tokens: int | None = Field(default=None, ge=1)
    """The most tokens of an answer."""
    logprobs: bool = False
    """Whether to ask for token ids and log-probabilities, as vLLM gives both."""
    stream: bool = True
    """Whether to take the answer as it is made."""
    native_tools: bool = True
    """Whether the model takes tool schemas; without, the tools are described in the prompt and action tags are read."""
    timeout_s: float = Field(default=60, gt=0)
    """Seconds for a whole answer."""
    traceparent: bool | None = None
    """Whether requests name the span that they belong to, in W3C's header; without a word only where the endpoint is on
    this machine."""
    retries: int = Field(default=3, ge=0, le=20)
    """Further attempts after an endpoint that is down, slow, 429 or 5xx; waits double, Retry-After comes first."""

    @property
    def limit_s(self) -> float:
        """Seconds that a request may take with all its attempts, at most. A read that is under way when the time of an
        attempt is over may take as long again."""
        return (2 * self.timeout_s + MAX_WAIT_S) * (self.retries + 1) + 2 * self.timeout_s * MAX_LEFT_OUT


class SpecialistSettings(_Closed):
    """One of several that each make a proposal of their own."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Recorded with its request."""
    prompt: Words
    """Added to the system prompt."""
    endpoint: str | None = None
    """Whom it asks; the router's choice when there is none."""


class RouteSettings(_Closed):
    """When to ask which endpoint: the first route that matches the latest message is taken."""

    endpoint: str
    """Whom to ask."""
    contains: tuple[Words, ...] = ()
    """Taken when the message holds one of these words, whatever their case."""
    like: tuple[Words, ...] = ()
    """Taken when the message is nearer to the mean of these examples than to that of any other route's, by the text
    embedder. A message that has nothing in common with any example is not routed by them."""

    @model_validator(mode="after")
    def _one_kind(self) -> RouteSettings:
        if bool(self.contains) == bool(self.like):
            raise ValueError(f"the route to {self.endpoint!r} needs words it contains or examples it is like, not both")
        return self


class ContextSettings(_Closed):
    """How much of the dialogue a request holds. A token counts as four characters."""

    budget_tokens: int = Field(default=24_000, ge=500)
    """Above it the oldest turns are left out."""
    keep_turns: int = Field(default=8, ge=2)
    """The latest turns that always stay."""
    result_tokens: int = Field(default=2_000, ge=50)
    """The most of one tool result that is shown; the whole stays on the log."""


class LanguageSettings(_Closed):
    """Models that reason in words and call tools."""

    system: str = "You are a helpful agent. Use the tools to find out and to act; say when you are done."
    """The system prompt."""
    n: int = Field(default=1, ge=1, le=8)
    """Answers to ask each endpoint for; each is a proposal."""
    endpoints: dict[str, EndpointSettings] = {"main": EndpointSettings()}
    """Models by name; the first is asked unless a route says otherwise."""
    routes: tuple[RouteSettings, ...] = ()
    """Tried in order."""
    specialists: tuple[SpecialistSettings, ...] = ()
    """Each makes a proposal; without any the reasoner makes them itself."""
    context: ContextSettings = ContextSettings()
    on_unanswered: Literal["wait", "fail"] = "wait"
    """When no model answered: rest and ask again on resume, or close the session as failed."""
    max_malformed: int = Field(default=3, ge=1)
    """Cycles in a row whose calls all cannot be made, after which the session fails."""
    max_refused: int = Field(default=3, ge=1)
    """Cycles in a row in which nothing proposed is allowed, after which the agent stops and says so."""

    @property
    def limit_s(self) -> float:
        """Seconds that a request may take with all its attempts, at most."""
        return max(endpoint.limit_s for endpoint in self.endpoints.values())

    @model_validator(mode="after")
    def _names_exist(self) -> LanguageSettings:
        if not self.endpoints:
            raise ValueError("a language reasoner needs at least one endpoint")
        if self.n * max(1, len(self.specialists)) > MAX_OPTIONS:
            asked = f"{self.n} answers to each of {len(self.specialists)} specialists"
            raise ValueError(f"{asked} are more than the {MAX_OPTIONS} proposals that a decision takes")
        named = [route.endpoint for route in self.routes]
        named += [specialist.endpoint for specialist in self.specialists if specialist.endpoint is not None]
        for name in named:
            if name not in self.endpoints:
                raise ValueError(f"there is no endpoint {name!r}; there are: {', '.join(self.endpoints)}")
        return self
