"""How a key stands with its limits now."""

from pydantic import AwareDatetime

from cli.answers import Answer, money, when


class RateStanding(Answer):
    """How much is left of a limit on images or requests."""

    limit: int
    window: str
    remaining: int

    def words(self) -> str:
        """Say it."""
        return f"{self.remaining:,} of {self.limit:,} left in {self.window}"


class BudgetStanding(Answer):
    """How much is left of a budget."""

    usd: float
    window: str
    spent_usd: float
    reserved_usd: float = 0.0
    remaining_usd: float
    renews_at: AwareDatetime | None = None

    def words(self) -> str:
        """Say it."""
        window = "in total" if self.window == "total" else f"this {self.window}"
        held = f", {money(self.reserved_usd)} held for calls in flight" if self.reserved_usd else ""
        anew = f"; anew from {when(self.renews_at)}" if self.renews_at else ""
        return (
            f"{money(self.remaining_usd)} of {money(self.usd)} USD left {window}"
            f" ({money(self.spent_usd)} spent{held}){anew}"
        )


class Standing(Answer):
    """How a key stands; what is not limited is None."""

    id: str
    in_flight: int = 0
    requests: RateStanding | None = None
    images: RateStanding | None = None
    budget: BudgetStanding | None = None

    def fields(self) -> dict[str, str]:
        """Give all of it, by what people call it."""
        return {
            "ID": self.id,
            "Budget": self.budget.words() if self.budget else "none",
            "Images": self.images.words() if self.images else "not limited",
            "Requests": self.requests.words() if self.requests else "not limited",
            "In flight": str(self.in_flight),
        }
